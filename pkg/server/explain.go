package server

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/controlplane/explanation"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/explain"
)

// explanationGroup is nestling.dev, told from the syncer.
func (s *server) explanationGroup() apigroup.Group {
	return explanation.Group(explanation.Options{
		Source: explained{s.syncer.Load},
		Loopback: func() *rest.Config {
			return s.apiServer.LoopbackConfig()
		},
	})
}

// explained is the syncer, which may not be there yet, as package explanation wants it.
type explained struct{ running func() *syncer.Syncer }

func (e explained) Version(gr schema.GroupResource) (string, bool) {
	if running := e.running(); running != nil {
		return running.Version(gr)
	}
	return "", false
}

func (e explained) Explain(gvr schema.GroupVersionResource, kind string, object *unstructured.Unstructured) (*explain.Explanation, error) {
	running := e.running()
	if running == nil {
		return nil, apierrors.NewServiceUnavailable(errNoSyncer.Error())
	}
	out, err := running.Explain(gvr, kind, object)
	if err != nil {
		return nil, apierrors.NewServiceUnavailable(err.Error())
	}
	return out, nil
}

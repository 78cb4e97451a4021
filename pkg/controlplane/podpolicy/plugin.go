// Package podpolicy is the operator's word on pods in the tenant's API: an admission plugin
// that refuses what the syncer would keep from the host, so that whoever asks for it is
// told at once.
//
// It exempts nobody. A tenant's administrator can take anybody's name (impersonation), and
// whatever a user of ours writes, its pods are somebody's.
package podpolicy

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"

	"nestling.dev/nestling/syncer/resource"
)

// PluginName in lists of admission plugins.
const PluginName = "NestlingPodPolicy"

// Refuse is why a pod may not run, in words for its author; nil: it may.
type Refuse func(pod *corev1.Pod) *resource.Rejection

type plugin struct {
	*admission.Handler
	refuse Refuse
}

var _ admission.ValidationInterface = &plugin{}

// Factory is the plugin in the form in which API servers take plugins.
func Factory(refuse Refuse) admission.Factory {
	return func(io.Reader) (admission.Interface, error) {
		return &plugin{Handler: admission.NewHandler(admission.Create, admission.Update), refuse: refuse}, nil
	}
}

// Validate refuses new pods and changes of pods, also by the subresources that change what
// runs.
func (p *plugin) Validate(_ context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	if request.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	switch request.GetSubresource() {
	case "", "ephemeralcontainers", "resize":
	default:
		return nil // status, and what is no Pod: a Binding, an Eviction
	}
	if request.GetOperation() == admission.Update && unchanged(request) {
		return nil
	}
	pod := &corev1.Pod{}
	if err := legacyscheme.Scheme.Convert(request.GetObject(), pod, nil); err != nil {
		return admission.NewForbidden(request, fmt.Errorf("the rules of this cluster's operator can't be applied to the pod: %w", err))
	}
	if rejection := p.refuse(pod); rejection != nil {
		return admission.NewForbidden(request, errors.New(rejection.Message))
	}
	return nil
}

// unchanged tells updates that a rule could not see: of status, finalizers and owners. A pod
// that was there before a rule was can end by them.
func unchanged(request admission.Attributes) bool {
	before, beforeOK := request.GetOldObject().(*api.Pod)
	after, afterOK := request.GetObject().(*api.Pod)
	return beforeOK && afterOK && equality.Semantic.DeepEqual(before.Spec, after.Spec) &&
		equality.Semantic.DeepEqual(before.Labels, after.Labels) && equality.Semantic.DeepEqual(before.Annotations, after.Annotations)
}

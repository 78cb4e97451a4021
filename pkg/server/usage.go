package server

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/controlplane/hostmetrics"
	"nestling.dev/nestling/pkg/controlplane/resourcemetrics"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/resource"
)

// usageGroup is metrics.k8s.io, told from the host's. Whoever asks for it where the host has
// none is told so, but discovery does not list it: scripts read all that it lists.
func (s *server) usageGroup() (apigroup.Group, error) {
	source, err := hostmetrics.New(hostmetrics.Options{
		Host: s.hostConfig, Namespace: s.config.Host.Namespace,
		Selector: labels.Set{resource.LabelTenant: s.config.Tenant}.String(),
		Tenant:   usageTenant{s.syncer.Load},
	})
	if err != nil {
		return apigroup.Group{}, err
	}
	group := resourcemetrics.Group(source)
	group.Listing = &apigroup.Listing{}
	return group, nil
}

// usageTenant is the tenant's pods and nodes as hostmetrics wants them.
type usageTenant struct{ running func() *syncer.Syncer }

func (t usageTenant) Pods(namespace string) ([]hostmetrics.Pod, error) {
	running := t.running()
	if running == nil {
		return nil, apierrors.NewServiceUnavailable(errNoSyncer.Error())
	}
	var out []hostmetrics.Pod
	for _, pod := range running.PlacedPods(namespace) {
		out = append(out, hostmetrics.Pod{
			Namespace: pod.Virtual.Namespace, Name: pod.Virtual.Name, Labels: pod.Virtual.Labels,
			HostName: pod.Host.Name, Containers: pod.Host.Containers,
		})
	}
	return out, nil
}

func (t usageTenant) Nodes() ([]hostmetrics.Node, error) {
	running := t.running()
	if running == nil {
		return nil, apierrors.NewServiceUnavailable(errNoSyncer.Error())
	}
	var out []hostmetrics.Node
	for _, node := range running.Nodes() {
		out = append(out, hostmetrics.Node{Name: node.Name, Labels: node.Labels})
	}
	return out, nil
}

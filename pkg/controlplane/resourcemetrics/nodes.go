package resourcemetrics

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
)

// nodeUsage is the resource nodes.metrics.k8s.io.
type nodeUsage struct{ source Source }

var _ interface {
	rest.KindProvider
	rest.Scoper
	rest.SingularNameProvider
	rest.Getter
	rest.Lister
} = nodeUsage{}

func (nodeUsage) New() runtime.Object     { return &metrics.NodeMetrics{} }
func (nodeUsage) NewList() runtime.Object { return &metrics.NodeMetricsList{} }
func (nodeUsage) Destroy()                {}
func (nodeUsage) Kind() string            { return "NodeMetrics" }
func (nodeUsage) NamespaceScoped() bool   { return false }

// GetSingularName is empty, as in metrics-server: "node" is the one of the core API.
func (nodeUsage) GetSingularName() string { return "" }

func (u nodeUsage) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	all, err := u.source.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	list := &metrics.NodeMetricsList{Items: []metrics.NodeMetrics{}}
	for i := range all {
		if selected(options, &all[i]) {
			list.Items = append(list.Items, all[i])
		}
	}
	slices.SortFunc(list.Items, func(a, b metrics.NodeMetrics) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (u nodeUsage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	all, err := u.source.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, apierrors.NewNotFound(metrics.Resource("nodemetrics"), name)
}

func (nodeUsage) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	switch object := object.(type) {
	case *metrics.NodeMetrics:
		return table(&metav1.ListMeta{ResourceVersion: object.ResourceVersion}, []line{nodeLine(object)}), nil
	case *metrics.NodeMetricsList:
		lines := make([]line, 0, len(object.Items))
		for i := range object.Items {
			lines = append(lines, nodeLine(&object.Items[i]))
		}
		return table(&object.ListMeta, lines), nil
	}
	return nil, notTabular(object)
}

func nodeLine(node *metrics.NodeMetrics) line {
	return line{object: node, name: node.Name, usage: node.Usage, window: node.Window.Duration}
}

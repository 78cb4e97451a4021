package resourcemetrics

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
)

// podUsage is the resource pods.metrics.k8s.io.
type podUsage struct{ source Source }

var _ interface {
	rest.KindProvider
	rest.Scoper
	rest.SingularNameProvider
	rest.Getter
	rest.Lister
} = podUsage{}

func (podUsage) New() runtime.Object     { return &metrics.PodMetrics{} }
func (podUsage) NewList() runtime.Object { return &metrics.PodMetricsList{} }
func (podUsage) Destroy()                {}
func (podUsage) Kind() string            { return "PodMetrics" }
func (podUsage) NamespaceScoped() bool   { return true }

// GetSingularName is empty, as in metrics-server: "pod" is the one of the core API.
func (podUsage) GetSingularName() string { return "" }

func (u podUsage) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	all, err := u.source.Pods(ctx, genericapirequest.NamespaceValue(ctx))
	if err != nil {
		return nil, err
	}
	list := &metrics.PodMetricsList{Items: []metrics.PodMetrics{}}
	for i := range all {
		if selected(options, &all[i]) {
			list.Items = append(list.Items, all[i])
		}
	}
	slices.SortFunc(list.Items, func(a, b metrics.PodMetrics) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

func (u podUsage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	namespace := genericapirequest.NamespaceValue(ctx)
	all, err := u.source.Pods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Namespace == namespace && all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, apierrors.NewNotFound(metrics.Resource("podmetrics"), namespace+"/"+name)
}

func (podUsage) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	switch object := object.(type) {
	case *metrics.PodMetrics:
		return table(&metav1.ListMeta{ResourceVersion: object.ResourceVersion}, []line{podLine(object)}), nil
	case *metrics.PodMetricsList:
		lines := make([]line, 0, len(object.Items))
		for i := range object.Items {
			lines = append(lines, podLine(&object.Items[i]))
		}
		return table(&object.ListMeta, lines), nil
	}
	return nil, notTabular(object)
}

// podLine sums the usage of the containers.
func podLine(pod *metrics.PodMetrics) line {
	usage := corev1.ResourceList{}
	for _, container := range pod.Containers {
		for name, quantity := range container.Usage {
			sum := usage[name].DeepCopy()
			sum.Add(quantity)
			usage[name] = sum
		}
	}
	return line{object: pod, name: pod.Name, usage: usage, window: pod.Window.Duration}
}

package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// classesOfNotes are priority classes that host ConfigMaps ask for under the key "class".
func classesOfNotes() resource.Kind {
	asked := func(host resource.Object) []string {
		if class := host.(*corev1.ConfigMap).Data["class"]; class != "" {
			return []string{class}
		}
		return nil
	}
	return resource.Spec[*schedulingv1.PriorityClass]{
		Resource: schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"), Kind: "PriorityClass",
		Direction: resource.FromHost, NoStatus: true, Optional: true,
		New:     func() *schedulingv1.PriorityClass { return &schedulingv1.PriorityClass{} },
		Sources: map[string]func(resource.Object) []string{"configmaps": asked},
		Make: func(env resource.Env, name string) *schedulingv1.PriorityClass {
			for _, note := range env.View.HostList("configmaps") {
				if len(asked(note)) > 0 && asked(note)[0] == name {
					return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}}
				}
			}
			return nil
		},
		ToVirtual: func(_ resource.Env, host *schedulingv1.PriorityClass) (*schedulingv1.PriorityClass, error) {
			return host.DeepCopy(), nil
		},
	}.Erase()
}

func TestAMirrorIsMadeOfOtherHostObjects(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "made")
	stop := x.start(engine.Breaker{}, classesOfNotes())
	defer stop()
	class := func() error {
		_, err := x.virtual.SchedulingV1().PriorityClasses().Get(t.Context(), "made-class", metav1.GetOptions{})
		return err
	}
	require.True(t, apierrors.IsNotFound(class()))
	x.create("one", map[string]string{"class": "made-class"})
	x.create("two", map[string]string{"class": "made-class"})
	require.Eventually(t, func() bool { return class() == nil }, 10*time.Second, 50*time.Millisecond)
	require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).Delete(t.Context(), "one", metav1.DeleteOptions{}))
	require.NoError(t, x.virtual.SchedulingV1().PriorityClasses().Delete(t.Context(), "made-class", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool { return class() == nil }, 10*time.Second, 50*time.Millisecond, "what a tenant removes comes back while there is a reason for it")
	require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).Delete(t.Context(), "two", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool { return apierrors.IsNotFound(class()) }, 10*time.Second, 50*time.Millisecond, "and goes with the last of them")
}

var widgets = schema.GroupVersionResource{Group: "engine.nestling.dev", Version: "v1", Resource: "widgets"}

func widgetKind() resource.Kind {
	fields := func(from, to *unstructured.Unstructured, name string) *unstructured.Unstructured {
		to.Object[name] = from.Object[name]
		return to
	}
	return resource.Spec[*unstructured.Unstructured]{
		Resource: widgets, Kind: "Widget", Namespaced: true, Optional: true,
		New: func() *unstructured.Unstructured {
			out := &unstructured.Unstructured{}
			out.SetGroupVersionKind(widgets.GroupVersion().WithKind("Widget"))
			return out
		},
		ToHost: func(env resource.Env, virtual *unstructured.Unstructured) (*unstructured.Unstructured, error) {
			out := &unstructured.Unstructured{Object: map[string]any{"spec": virtual.Object["spec"]}}
			out.SetGroupVersionKind(virtual.GroupVersionKind())
			meta := resource.HostMeta(env, virtual)
			out.SetName(meta.Name)
			out.SetNamespace(meta.Namespace)
			return out, nil
		},
		MergeHost: func(_ resource.Env, desired, live *unstructured.Unstructured) *unstructured.Unstructured {
			return fields(desired, live, "spec")
		},
		MergeVirtual: func(_ resource.Env, virtual, host *unstructured.Unstructured) *unstructured.Unstructured {
			return fields(host, virtual, "status")
		},
	}.Erase()
}

// serveWidgets makes the custom resource known to both servers.
func serveWidgets(t *testing.T) {
	t.Helper()
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": widgets.GroupResource().String()},
		"spec": map[string]any{
			"group": widgets.Group, "scope": "Namespaced",
			"names": map[string]any{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
			"versions": []any{map[string]any{
				"name": widgets.Version, "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{"spec": anything, "status": anything}}},
			}},
		},
	}}
	for _, client := range []dynamic.Interface{dynamicClient(t, true), dynamicClient(t, false)} {
		_, err := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
			Create(t.Context(), definition.DeepCopy(), metav1.CreateOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			_, err := client.Resource(widgets).List(t.Context(), metav1.ListOptions{})
			return err == nil
		}, 10*time.Second, 50*time.Millisecond)
	}
}

func dynamicClient(t *testing.T, virtual bool) dynamic.Interface {
	t.Helper()
	config := hostServer.Config
	if virtual {
		config = virtualServer.Config
	}
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func TestACustomResourceIsSyncedBothWays(t *testing.T) {
	t.Parallel()
	serveWidgets(t)
	x := newTenant(t, "custom")
	stop := x.start(engine.Breaker{}, widgetKind())
	defer stop()
	virtual := dynamicClient(t, true).Resource(widgets).Namespace(x.name)
	host := dynamicClient(t, false).Resource(widgets).Namespace(x.name)

	widget := widgetKind().New().(*unstructured.Unstructured)
	widget.SetName("w")
	widget.Object["spec"] = map[string]any{"size": int64(3), "list": []any{"a", "b"}}
	_, err := virtual.Create(t.Context(), widget, metav1.CreateOptions{})
	require.NoError(t, err)
	hostName := naming.Host(x.name, x.name, "w")
	var live *unstructured.Unstructured
	require.Eventually(t, func() bool {
		live, err = host.Get(t.Context(), hostName, metav1.GetOptions{})
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
	require.Equal(t, map[string]any{"size": int64(3), "list": []any{"a", "b"}}, live.Object["spec"])

	live.Object["status"] = map[string]any{"phase": "Good"}
	_, err = host.UpdateStatus(t.Context(), live, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := virtual.Get(t.Context(), "w", metav1.GetOptions{})
		phase, _, _ := unstructured.NestedString(got.Object, "status", "phase")
		return err == nil && phase == "Good"
	}, 10*time.Second, 50*time.Millisecond)

	require.NoError(t, virtual.Delete(t.Context(), "w", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := host.Get(t.Context(), hostName, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, 10*time.Second, 50*time.Millisecond)
}

func TestWhatAHostDoesNotServeIsKnown(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "unserved")
	other := widgetKind()
	other.Resource.Resource, other.Resource.Group = "gadgets", "nowhere.nestling.dev"
	served := classesOfNotes()
	served.Make = nil
	absent, err := engine.Unserved(t.Context(), x.host.Discovery().RESTClient(), []resource.Kind{served, other, configMaps("x")})
	require.NoError(t, err)
	require.Len(t, absent, 1)
	require.Equal(t, "gadgets", absent[0].Resource.Resource)
}

package resources_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

// Whatever a tenant writes into a selector, on the host it meets pods that carry the
// tenant's and the namespace's marks, and among them those that it meets here.
func TestSelectorsMeetOnlyOnesOwn(t *testing.T) {
	t.Parallel()
	key := rapid.SampledFrom([]string{"app", "tier", resource.LabelTenant, resource.LabelNamespace, "nestling.dev/other"})
	value := rapid.SampledFrom([]string{"", "a", "team-a", "team-b", "default", "kube-system"})
	keys := rapid.MapOf(key, value)
	rapid.Check(t, func(t *rapid.T) {
		env := golden.Env(&golden.World{})
		virtual := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec:       corev1.ServiceSpec{Selector: keys.Draw(t, "selector")},
		}
		host, err := resources.ServiceToHost(env, virtual)
		if err != nil {
			t.Fatal(err)
		}
		if len(virtual.Spec.Selector) == 0 {
			if len(host.Spec.Selector) != 0 {
				t.Fatalf("a service without selector got %v", host.Spec.Selector)
			}
			return
		}
		selector := labels.SelectorFromSet(host.Spec.Selector)
		if anybody := labels.Set(keys.Draw(t, "somebody's labels")); selector.Matches(anybody) &&
			(anybody[resource.LabelTenant] != env.Tenant || anybody[resource.LabelNamespace] != "default") {
			t.Fatalf("%v meets %v", selector, anybody)
		}
		own := resource.Stamp(env, "Pod", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}},
			&corev1.Pod{ObjectMeta: resource.HostMeta(env, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: virtual.Spec.Selector}})})
		if _, marked := virtual.Spec.Selector["nestling.dev/other"]; !marked && !selector.Matches(labels.Set(own.Labels)) {
			t.Fatalf("%v misses %v", selector, own.Labels)
		}
	})
}

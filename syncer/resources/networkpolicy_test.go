package resources_test

import (
	"fmt"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

// neighbours are virtual namespaces with labels, and pods in them; of this tenant and, by
// the same names, of another.
type neighbours struct {
	namespaces map[string]map[string]string
	pods       []neighbour
}

type neighbour struct {
	namespace string
	labels    map[string]string
}

// Small alphabets make things meet. The prefix is ours: pods do not take such labels along.
func drawLabels(t *rapid.T, what string) map[string]string {
	return rapid.MapOf(
		rapid.SampledFrom([]string{"app", "tier", "kubernetes.io/metadata.name", resource.LabelTenant, resource.LabelNamespace, resource.LabelControlPlane}),
		rapid.SampledFrom([]string{"", "a", "b", "team-a", "team-b"})).Draw(t, what)
}

func drawSelector(t *rapid.T, what string) *metav1.LabelSelector {
	out := &metav1.LabelSelector{MatchLabels: drawLabels(t, what+" labels")}
	for i := range rapid.IntRange(0, 2).Draw(t, what+" expressions") {
		requirement := metav1.LabelSelectorRequirement{
			Key:      rapid.SampledFrom([]string{"app", "tier", "kubernetes.io/metadata.name", resource.LabelTenant}).Draw(t, fmt.Sprint(what, " key ", i)),
			Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, fmt.Sprint(what, " operator ", i)),
		}
		if requirement.Operator == "In" || requirement.Operator == "NotIn" {
			requirement.Values = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "team-b"}), 1, 2).Draw(t, fmt.Sprint(what, " values ", i))
		}
		out.MatchExpressions = append(out.MatchExpressions, requirement)
	}
	return out
}

func drawNeighbours(t *rapid.T) neighbours {
	out := neighbours{namespaces: map[string]map[string]string{}}
	for _, name := range []string{"a", "b"} {
		out.namespaces[name] = drawLabels(t, "namespace "+name)
		out.namespaces[name]["kubernetes.io/metadata.name"] = name
		for i := range rapid.IntRange(1, 3).Draw(t, "pods of "+name) {
			out.pods = append(out.pods, neighbour{namespace: name, labels: drawLabels(t, fmt.Sprint("pod ", i, " of ", name))})
		}
	}
	return out
}

// hostPod has the labels that a tenant's pod carries on the host.
func (n neighbours) hostPod(t *rapid.T, env resource.Env, pod neighbour) labels.Set {
	virtual := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.namespace, Name: "pod", UID: "uid", Labels: pod.labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}},
	}
	env.View = &golden.World{VirtualObjects: []resource.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pod.namespace, Labels: n.namespaces[pod.namespace]}},
	}}
	host, err := resources.Pods().ToHost(env, virtual)
	if err != nil {
		t.Fatal(err)
	}
	return resource.Stamp(env, "Pod", virtual, host).GetLabels()
}

func matches(t *rapid.T, selector *metav1.LabelSelector, of map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Matches(labels.Set(of))
}

// plain labels and selectors keep off our prefix.
func plain(selector *metav1.LabelSelector) bool {
	if selector == nil {
		return true
	}
	for key := range selector.MatchLabels {
		if key == resource.LabelTenant || key == resource.LabelNamespace || key == resource.LabelControlPlane {
			return false
		}
	}
	for _, requirement := range selector.MatchExpressions {
		if requirement.Key == resource.LabelTenant {
			return false
		}
	}
	return true
}

// On the host a policy's peer is, among all pods that stand there, exactly those of this
// tenant that it is here; whatever labels they have, none of another tenant's is, nor one
// of nobody's.
func TestPeersOfPoliciesAreOnesOwn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		env := golden.Env(&golden.World{})
		other := env
		other.Tenant = "team-b"
		world := drawNeighbours(t)
		peer := networkingv1.NetworkPolicyPeer{}
		if rapid.Bool().Draw(t, "by namespace") {
			peer.NamespaceSelector = drawSelector(t, "namespaces")
		}
		if peer.NamespaceSelector == nil || rapid.Bool().Draw(t, "by pod") {
			peer.PodSelector = drawSelector(t, "pods")
		}
		virtual := &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "policy", UID: "uid"},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: *drawSelector(t, "subjects"),
				PolicyTypes: []networkingv1.PolicyType{"Ingress", "Egress"},
				Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{peer}}},
				Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{peer}}},
			},
		}
		translated, err := resources.NetworkPolicies().ToHost(env, virtual)
		if err != nil {
			t.Fatal(err)
		}
		host := translated.(*networkingv1.NetworkPolicy).Spec
		if len(host.Ingress) != 2 || len(host.Egress) != 2 || len(host.Ingress[0].From) != 1 || len(host.Egress[0].To) != 1 {
			t.Fatalf("rules %v and %v", host.Ingress, host.Egress)
		}
		onHost := host.Ingress[0].From[0]
		if onHost.NamespaceSelector != nil || onHost.PodSelector == nil || host.Egress[0].To[0].NamespaceSelector != nil {
			t.Fatalf("it reaches into other namespaces of the host: %v", onHost)
		}
		for _, pod := range world.pods {
			own, foreign := world.hostPod(t, env, pod), world.hostPod(t, other, pod)
			isPeer, isSubject := matches(t, onHost.PodSelector, own), matches(t, &host.PodSelector, own)
			for _, stranger := range []labels.Set{foreign, pod.labels, maps.Clone(world.namespaces[pod.namespace])} {
				if stranger[resource.LabelTenant] == env.Tenant {
					continue // a drawn label, which no host pod of others has
				}
				if matches(t, onHost.PodSelector, stranger) || matches(t, &host.PodSelector, stranger) {
					t.Fatalf("%v or %v meets %v, which is not the tenant's", onHost.PodSelector, host.PodSelector, stranger)
				}
			}
			if !plain(peer.NamespaceSelector) || !plain(peer.PodSelector) || !plain(&virtual.Spec.PodSelector) {
				continue // labels under our prefix do not go along: fewer may be met, never more
			}
			inNamespace := pod.namespace == "a"
			if peer.NamespaceSelector != nil {
				inNamespace = matches(t, peer.NamespaceSelector, world.namespaces[pod.namespace])
			}
			if want := inNamespace && (peer.PodSelector == nil || matches(t, peer.PodSelector, pod.labels)); want != isPeer {
				t.Fatalf("pod %v: a peer here %t, there %t", pod, want, isPeer)
			}
			if want := pod.namespace == "a" && matches(t, &virtual.Spec.PodSelector, pod.labels); want != isSubject {
				t.Fatalf("pod %v: a subject here %t, there %t", pod, want, isSubject)
			}
		}
	})
}

// The same of budgets.
func TestBudgetsAreForOnesOwn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		env := golden.Env(&golden.World{})
		other := env
		other.Tenant = "team-b"
		world := drawNeighbours(t)
		virtual := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "budget", UID: "uid"}}
		virtual.Spec.MinAvailable = new(intstr.FromInt32(1))
		if rapid.Bool().Draw(t, "with selector") {
			virtual.Spec.Selector = drawSelector(t, "selector")
		}
		translated, err := resources.PodDisruptionBudgets().ToHost(env, virtual)
		if err != nil {
			t.Fatal(err)
		}
		host := translated.(*policyv1.PodDisruptionBudget).Spec
		for _, pod := range world.pods {
			if matches(t, host.Selector, world.hostPod(t, other, pod)) {
				t.Fatalf("%v meets another tenant's pod", host.Selector)
			}
			want := pod.namespace == "a" && matches(t, virtual.Spec.Selector, pod.labels)
			if got := matches(t, host.Selector, world.hostPod(t, env, pod)); plain(virtual.Spec.Selector) && want != got {
				t.Fatalf("pod %v: spared here %t, there %t", pod, want, got)
			}
		}
	})
}

// What the tenant's own pod serves is within reach, by a label that no pod of tenants has.
func TestPoliciesLeaveTheControlPlaneInReach(t *testing.T) {
	t.Parallel()
	env := golden.Env(&golden.World{})
	virtual := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "policy"}}
	virtual.Spec.PolicyTypes = []networkingv1.PolicyType{"Egress"}
	translated, err := resources.NetworkPolicies().ToHost(env, virtual)
	if err != nil {
		t.Fatal(err)
	}
	egress := translated.(*networkingv1.NetworkPolicy).Spec.Egress
	if len(egress) != 1 || len(egress[0].To) != 1 || len(egress[0].Ports) != 3 {
		t.Fatalf("egress %v", egress)
	}
	selector, err := metav1.LabelSelectorAsSelector(egress[0].To[0].PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set{"nestling.dev/control-plane": env.Tenant, "app.kubernetes.io/name": "nestling"}) ||
		selector.Matches(labels.Set{"nestling.dev/control-plane": "team-b"}) || selector.Matches(labels.Set{naming.NamespaceLabel("a"): ""}) {
		t.Fatalf("selector %v", selector)
	}
}

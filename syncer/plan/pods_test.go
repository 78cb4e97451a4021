package plan_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

var podName = naming.Host("team-a", "default", "virtual-pod")

// podWorld is a world with one random virtual pod and what it may read.
func podWorld(f *filler) *golden.World {
	pod := f.pod()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db"}, Spec: corev1.ServiceSpec{
		ClusterIP: "10.96.0.9", Ports: []corev1.ServicePort{{Port: 5432}},
	}}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"team": f.word()}}}
	tokens := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: "tenants", Name: resources.TokenSecretName("team-a", "default", "virtual-pod"),
		Annotations: map[string]string{resource.AnnotationUID: string(pod.UID)},
	}}
	world := &golden.World{VirtualObjects: []resource.Object{pod, service, namespace}, HostObjects: []resource.Object{tokens}}
	for _, volume := range pod.Spec.Volumes {
		if volume.Ephemeral != nil {
			addEphemeralClaim(world, pod, volume.Name)
		}
	}
	// As the virtual cluster's controller of claims does.
	for _, claim := range pod.Spec.ResourceClaims {
		if claim.ResourceClaimTemplateName != nil {
			pod.Status.ResourceClaimStatuses = append(pod.Status.ResourceClaimStatuses,
				corev1.PodResourceClaimStatus{Name: claim.Name, ResourceClaimName: new("virtual-pod-" + claim.Name)})
		}
	}
	return world
}

// addEphemeralClaim does what the virtual cluster's ephemeral volume controller does, and
// the syncer of claims after it.
func addEphemeralClaim(world *golden.World, pod *corev1.Pod, volume string) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Name + "-" + volume, UID: types.UID("claim-of-" + volume),
		OwnerReferences: []metav1.OwnerReference{{UID: pod.UID, Controller: new(true)}},
	}}
	env := golden.Env(world)
	world.VirtualObjects = append(world.VirtualObjects, claim)
	world.HostObjects = append(world.HostObjects, resource.Stamp(env, "PersistentVolumeClaim", claim,
		&corev1.PersistentVolumeClaim{ObjectMeta: resource.HostMeta(env, claim)}))
}

func virtualPod(world *golden.World) *corev1.Pod {
	return world.Virtual("pods", resource.Key{Namespace: "default", Name: "virtual-pod"}).(*corev1.Pod)
}

func hostPod(world *golden.World) *corev1.Pod { return world.Host("pods", podName).(*corev1.Pod) }

// settle decides and carries out until the plan is empty, which must be soon: a plan is
// carried out as a whole, and only what it brings about can ask for another.
func settle(t *rapid.T, world *golden.World) {
	env := golden.Env(world)
	for range 3 {
		virtual := world.Virtual("pods", resource.Key{Namespace: "default", Name: "virtual-pod"})
		host := world.Host("pods", podName)
		before := text(virtual, host)
		got := plan.Decide(env, resources.Pods(), virtual, host)
		if diff := cmp.Diff(before, text(virtual, host)); diff != "" {
			t.Fatalf("Decide changed what it was given:\n%s", diff)
		}
		if got.Empty() {
			return
		}
		if got.Wait != "" || got.Event != nil {
			t.Fatalf("not synced: %s", got)
		}
		if err := world.Carry(resources.Pods(), got); err != nil {
			t.Fatalf("a server refuses %s: %v", got, err)
		}
	}
	got := plan.Decide(env, resources.Pods(), virtualPod(world), hostPod(world))
	if !got.Empty() {
		action := got.Actions[0]
		t.Fatalf("no end: %s%s", got, cmp.Diff(action.Live, action.Want))
	}
}

func text(objects ...resource.Object) string {
	out, err := json.Marshal(objects)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// change replaces one pod of a world by a changed copy.
func change(objects []resource.Object, pod *corev1.Pod, by func(*corev1.Pod)) {
	changed := pod.DeepCopy()
	by(changed)
	if !cmp.Equal(changed.Spec, pod.Spec) {
		changed.Generation++
	}
	objects[slices.Index(objects, resource.Object(pod))] = changed
}

// What an author, the scheduler, a kubelet and the host's webhooks do to pods.
var (
	virtualChanges = map[string]func(*filler, *corev1.Pod){
		"image":       func(f *filler, pod *corev1.Pod) { pick(f, pointers(pod.Spec.Containers)...).Image = f.word() },
		"label":       func(f *filler, pod *corev1.Pod) { pod.Labels = map[string]string{"app": f.word(), f.word(): f.word()} },
		"annotations": func(f *filler, pod *corev1.Pod) { pod.Annotations = map[string]string{f.word(): f.word()} },
		"toleration": func(f *filler, pod *corev1.Pod) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Key: f.word()})
		},
		"toleration seconds": func(f *filler, pod *corev1.Pod) {
			for i := range pod.Spec.Tolerations {
				pod.Spec.Tolerations[i].TolerationSeconds = new(f.rand.Int64N(100))
			}
		},
		"gates": func(_ *filler, pod *corev1.Pod) {
			pod.Spec.SchedulingGates = pod.Spec.SchedulingGates[:len(pod.Spec.SchedulingGates)/2]
		},
		"deadline": func(_ *filler, pod *corev1.Pod) { pod.Spec.ActiveDeadlineSeconds = new(int64(1)) },
		"resources": func(f *filler, pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": apiresource.MustParse(fmt.Sprint(f.rand.IntN(9)))}
		},
		"ephemeral container": func(f *filler, pod *corev1.Pod) {
			var container corev1.EphemeralContainer
			f.fill(reflect.ValueOf(&container).Elem())
			dropBoth((*corev1.Container)(&container.EphemeralContainerCommon))
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, container)
		},
		"readiness": func(f *filler, pod *corev1.Pod) {
			for _, gate := range pod.Spec.ReadinessGates {
				pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == gate.ConditionType })
				pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: gate.ConditionType, Status: corev1.ConditionTrue, Reason: f.word()})
			}
		},
	}
	hostChanges = map[string]func(*filler, *corev1.Pod){
		"bind": func(_ *filler, pod *corev1.Pod) {
			if len(pod.Spec.SchedulingGates) == 0 {
				pod.Spec.NodeName = "node-1"
			}
		},
		"label lost": func(_ *filler, pod *corev1.Pod) { pod.Labels = nil },
		"annotation": func(f *filler, pod *corev1.Pod) { pod.Annotations[f.word()] = f.word() },
		"image":      func(f *filler, pod *corev1.Pod) { pick(f, pointers(pod.Spec.Containers)...).Image = f.word() },
		"container": func(f *filler, pod *corev1.Pod) {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: f.word(), Image: f.word()})
		},
		"limits": func(_ *filler, pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"memory": apiresource.MustParse("1Gi")}
		},
		"toleration": func(f *filler, pod *corev1.Pod) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Key: f.word()})
		},
		"status": func(f *filler, pod *corev1.Pod) {
			pod.Status = f.status(pod, []string{podName, naming.Host("team-a", "default", "other")})
			if f.rand.IntN(2) == 0 {
				pod.Status.ObservedGeneration = pod.Generation
			}
		},
	}
)

func pointers(containers []corev1.Container) []*corev1.Container {
	var out []*corev1.Container
	for i := range containers {
		out = append(out, &containers[i])
	}
	return out
}

func TestPodPlansComeToAnEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := newFiller(rapid.Uint64().Draw(t, "seed"))
		world := podWorld(f)
		settle(t, world)
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			if name := rapid.SampledFrom(append(sorted(virtualChanges), "")).Draw(t, "virtual"); name != "" {
				change(world.VirtualObjects, virtualPod(world), func(pod *corev1.Pod) { virtualChanges[name](f, pod) })
			}
			if name := rapid.SampledFrom(append(sorted(hostChanges), "")).Draw(t, "host"); name != "" {
				change(world.HostObjects, hostPod(world), func(pod *corev1.Pod) { hostChanges[name](f, pod) })
			}
			settle(t, world)
		}
		follows(t, virtualPod(world), hostPod(world))
	})
}

// follows checks that what the virtual side owns has arrived.
func follows(t *rapid.T, virtual, host *corev1.Pod) {
	for _, container := range virtual.Spec.EphemeralContainers {
		if !slices.ContainsFunc(host.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == container.Name }) {
			t.Fatalf("ephemeral container %s is not on the host", container.Name)
		}
	}
	for key, value := range virtual.Labels {
		if !strings.HasPrefix(key, resource.Prefix) && host.Labels[key] != value {
			t.Fatalf("label %s is %q on the host, want %q", key, host.Labels[key], value)
		}
	}
	for _, toleration := range virtual.Spec.Tolerations {
		if !slices.ContainsFunc(host.Spec.Tolerations, func(other corev1.Toleration) bool { return cmp.Equal(other, toleration) }) {
			t.Fatalf("toleration %v is not on the host", toleration)
		}
	}
	if host.Labels[resource.LabelTenant] != "team-a" || virtual.Spec.NodeName != host.Spec.NodeName {
		t.Fatalf("tenant %q, nodes %q and %q", host.Labels[resource.LabelTenant], virtual.Spec.NodeName, host.Spec.NodeName)
	}
	if got := host.Annotations["nestling.dev/generation"]; got != fmt.Sprint(virtual.Generation) {
		t.Fatalf("generation %s is on the host, want %d", got, virtual.Generation)
	}
}

func sorted[T any](m map[string]T) []string {
	var out []string
	for key := range m {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

func TestVirtualPodsNameNothingOfTheHost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := newFiller(rapid.Uint64().Draw(t, "seed"))
		world := podWorld(f)
		settle(t, world)
		secrets := []string{podName, string(hostPod(world).UID), resources.TokenSecretName("team-a", "default", "virtual-pod")}
		for _, ref := range resources.Pods().Refs(virtualPod(world)) {
			if ref.Namespace != "" {
				secrets = append(secrets, naming.Host("team-a", "default", ref.Name))
			}
		}
		change(world.HostObjects, hostPod(world), func(pod *corev1.Pod) { pod.Status = f.status(pod, secrets) })
		settle(t, world)
		virtual := text(&corev1.Pod{Status: virtualPod(world).Status})
		for _, secret := range append(secrets, "_tenants", `\"tenants`) {
			if strings.Contains(virtual, secret) {
				t.Fatalf("%q shows in %s", secret, virtual)
			}
		}
	})
}

package resources_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

// hostPod is the host pod of default/name, without its spec.
func hostPod(name, identity string) *corev1.Pod {
	env := golden.Env(nil)
	env.Identity = identity
	virtual := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "virtual-1"}}
	return resource.Stamp(env, "Pod", virtual, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: env.HostNamespace, Name: naming.Host(env.Tenant, "default", name), UID: "host-1",
	}})
}

func eventAbout(pod *corev1.Pod, suffix string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "tenants", Name: pod.Name + suffix},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "tenants", Name: pod.Name, UID: pod.UID},
	}
}

func TestWhereEventsGo(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 253)
	ours, longs, others := hostPod("web-0", "identity-1"), hostPod(long, "identity-1"), hostPod("other", "identity-2")
	world := &golden.World{
		HostObjects: []resource.Object{ours, longs, others},
		VirtualObjects: []resource.Object{&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-0"},
			Spec: corev1.PodSpec{
				Containers:          []corev1.Container{{Name: "app"}},
				EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}},
			},
		}},
	}
	with := func(event *corev1.Event, change func(*corev1.Event)) *corev1.Event {
		change(event)
		return event
	}
	container := func(path string) *corev1.Event {
		return with(eventAbout(ours, ".1"), func(e *corev1.Event) { e.InvolvedObject.FieldPath = path })
	}
	for name, test := range map[string]struct {
		event *corev1.Event
		want  string // name of the virtual event; empty: nowhere
	}{
		"about a pod of ours":               {eventAbout(ours, ".1879a"), "web-0.1879a"},
		"whose name says nothing":           {with(eventAbout(ours, ""), func(e *corev1.Event) { e.Name = "b7c1" }), "web-0.b7c1"},
		"about a long name":                 {eventAbout(longs, ".1879a"), long[:247] + ".1879a"},
		"about a container":                 {container("spec.containers{app}"), "web-0.1"},
		"about an ephemeral container":      {container("spec.ephemeralContainers{debug}"), "web-0.1"},
		"about a container that was put in": {container("spec.containers{proxy}"), ""},
		"about another tenant's pod":        {eventAbout(others, ".1"), ""},
		"about nothing we know":             {eventAbout(hostPod("none", "identity-1"), ".1"), ""},
		"about a namesake that is gone": {
			with(eventAbout(ours, ".1"), func(e *corev1.Event) { e.InvolvedObject.UID = types.UID("host-0") }), "",
		},
		"about another namespace": {
			with(eventAbout(ours, ".1"), func(e *corev1.Event) { e.InvolvedObject.Namespace = "elsewhere" }), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, ok := resources.Events().VirtualKey(golden.Env(world), test.event)
			var want resource.Key
			if test.want != "" {
				want = resource.Key{Namespace: "default", Name: test.want}
			}
			if diff := cmp.Diff(want, key); diff != "" || ok != (test.want != "") {
				t.Errorf("goes somewhere: %v, key (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestALateEventFindsItsPodThatLeft(t *testing.T) {
	t.Parallel()
	left := hostPod("web-0", "identity-1")
	world := &golden.World{
		LeftHost: []resource.Object{left},
		LeftVirtual: []resource.Object{&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-0"},
			Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: "credentials"},
			}}}},
		}},
	}
	event := eventAbout(left, ".late")
	secret := naming.Host("team-a", "default", "credentials")
	event.Message = "MountVolume.SetUp failed for volume \"v\": secret \"" + secret + "\" not found"
	env := golden.Env(world)
	key, ok := resources.Events().VirtualKey(env, event)
	if want := (resource.Key{Namespace: "default", Name: "web-0.late"}); !ok || key != want {
		t.Fatalf("goes to %v (%v), want %v", key, ok, want)
	}
	virtual, err := resources.Events().ToVirtual(env, event)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`MountVolume.SetUp failed for volume "v": secret "credentials" not found`, virtual.(*corev1.Event).Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

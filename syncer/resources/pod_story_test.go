package resources

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources/golden"
)

// story is a virtual pod and its host pod through changes on either side.
type story struct {
	t     *testing.T
	world *golden.World
	env   resource.Env
}

// newStory begins when a virtual pod has got its host pod.
func newStory(t *testing.T, change func(*corev1.Pod)) *story {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-0", UID: "pod-1", Generation: 1, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "default",
			Containers:         []corev1.Container{{Name: "web", Image: "nginx:1"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort},
	}
	if change != nil {
		change(pod)
	}
	world := &golden.World{VirtualObjects: []resource.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"team": "a"}}}, pod,
	}}
	s := &story{t: t, world: world, env: golden.Env(world)}
	require.Equal(t, "create host: new", s.settle())
	return s
}

func (s *story) key() resource.Key { return resource.Key{Namespace: "default", Name: "web-0"} }

// virtual is the virtual pod, nil if there is none.
func (s *story) virtual() *corev1.Pod {
	pod, _ := s.world.Virtual("pods", s.key()).(*corev1.Pod)
	return pod
}

func (s *story) host() *corev1.Pod {
	pod, _ := s.world.Host("pods", naming.Host("team-a", "default", "web-0")).(*corev1.Pod)
	return pod
}

// onVirtual changes the virtual pod as its users do.
func (s *story) onVirtual(change func(*corev1.Pod)) {
	replace(s.world.VirtualObjects, s.virtual(), change)
}

// onHost changes the host pod as the host's components do.
func (s *story) onHost(change func(*corev1.Pod)) { replace(s.world.HostObjects, s.host(), change) }

func replace(objects []resource.Object, old *corev1.Pod, change func(*corev1.Pod)) {
	pod := old.DeepCopy()
	change(pod)
	if !equality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		pod.Generation++
	}
	for i := range objects {
		if objects[i] == resource.Object(old) {
			objects[i] = pod
		}
	}
}

// settle decides and carries out until there is nothing left, and returns the steps.
func (s *story) settle() string {
	s.t.Helper()
	var steps []string
	for range 6 {
		var virtual, host resource.Object
		if pod := s.virtual(); pod != nil {
			virtual = pod
		}
		if pod := s.host(); pod != nil {
			host = pod
		}
		p := plan.Decide(s.env, Pods(), virtual, host)
		if p.Empty() {
			return strings.Join(steps, "; ")
		}
		for line := range strings.Lines(p.String()) {
			line = strings.TrimSpace(line)
			line = strings.ReplaceAll(line, " "+naming.Host("team-a", "default", "web-0"), "")
			steps = append(steps, strings.ReplaceAll(line, " web-0", ""))
		}
		require.NoError(s.t, s.world.Carry(Pods(), p))
	}
	s.t.Fatalf("no end after %q", steps)
	return ""
}

package resources

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

const updated = "patch host: virtual object differs"

func requests(cpu string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: apiresource.MustParse(cpu)}}
}

func TestPodImageFollows(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) { pod.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "a"}} })
	s.onVirtual(func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Image = "nginx:2"
		pod.Spec.InitContainers[0].Image = "b"
	})
	require.Equal(t, updated, s.settle())
	require.Equal(t, "nginx:2", s.host().Spec.Containers[0].Image)
	require.Equal(t, "b", s.host().Spec.InitContainers[0].Image)
	require.Equal(t, "2", s.host().Annotations[podGeneration])
}

func TestPodImageThatTheHostRewritesIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Image = "mirror.example.com/nginx:1"
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "injected", Image: "proxy"})
	})
	require.Empty(t, s.settle())
	s.onVirtual(func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "nginx:2" })
	require.Equal(t, updated, s.settle())
	require.Equal(t, "nginx:2", s.host().Spec.Containers[0].Image)
	require.Equal(t, "proxy", s.host().Spec.Containers[1].Image)
}

func TestPodLabelsFollowAndAreRepaired(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onVirtual(func(pod *corev1.Pod) { pod.Labels = map[string]string{"tier": "front"} })
	require.Equal(t, updated, s.settle())
	require.NotContains(t, s.host().Labels, "app")
	want := s.host().Labels

	s.onHost(func(pod *corev1.Pod) { pod.Labels = map[string]string{"host.example.com/own": "x"} })
	require.Equal(t, updated, s.settle())
	require.Equal(t, "x", s.host().Labels["host.example.com/own"])
	for key, value := range want {
		require.Equal(t, value, s.host().Labels[key])
	}
}

func TestPodCarriesItsNamespacesLabels(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	require.Equal(t, "a", s.host().Labels[naming.NamespaceLabel("team")])
	namespace := s.world.VirtualObjects[0].DeepCopyObject().(*corev1.Namespace)
	namespace.Labels = map[string]string{"env": "test"}
	s.world.VirtualObjects[0] = namespace
	require.Equal(t, updated, s.settle())
	require.NotContains(t, s.host().Labels, naming.NamespaceLabel("team"))
	require.Equal(t, "test", s.host().Labels[naming.NamespaceLabel("env")])
}

func TestPodDownwardFilesFollow(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) {
		item := func(path, field string) corev1.DownwardAPIVolumeFile {
			return corev1.DownwardAPIVolumeFile{Path: path, FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}
		}
		pod.Spec.Volumes = []corev1.Volume{{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{item("all", "metadata.labels"), item("app", "metadata.labels['app']")},
		}}}}
	})
	require.Equal(t, `app="web"`, s.host().Annotations[podLabels])
	s.onVirtual(func(pod *corev1.Pod) { pod.Labels = map[string]string{"b": "2"} })
	require.Equal(t, updated, s.settle())
	require.Equal(t, `b="2"`, s.host().Annotations[podLabels])
	require.Empty(t, s.host().Annotations[podDownward+"0"])
}

// Upstream's suite has a container whose subPathExpr waits for an annotation.
func TestPodDownwardVariablesFollow(t *testing.T) {
	t.Parallel()
	path := func(field string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}
	}
	s := newStory(t, func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "ANNOTATION", ValueFrom: path("metadata.annotations['mysubpath']")}}
	})
	variables := s.host().Spec.Containers[0].Env
	variable := variables[len(variables)-1]
	require.Equal(t, path("metadata.annotations['"+podDownward+"0']"), variable.ValueFrom)
	require.Empty(t, s.host().Annotations[podDownward+"0"])
	s.onVirtual(func(pod *corev1.Pod) { pod.Annotations = map[string]string{"mysubpath": "mypath"} })
	require.Equal(t, updated, s.settle())
	require.Equal(t, "mypath", s.host().Annotations[podDownward+"0"])
	// An ephemeral container starts once, maybe before its annotation is there.
	s.onVirtual(func(pod *corev1.Pod) {
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", Image: "busybox", Env: []corev1.EnvVar{{Name: "ANNOTATION", ValueFrom: path("metadata.annotations['mysubpath']")}},
		}}}
	})
	s.settle()
	variables = s.host().Spec.EphemeralContainers[0].Env
	require.Equal(t, corev1.EnvVar{Name: "ANNOTATION", Value: "mypath"}, variables[len(variables)-1])
}

func TestPodEphemeralContainersAreAdded(t *testing.T) {
	t.Parallel()
	debug := func(name string) corev1.EphemeralContainer {
		return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: name, Image: "busybox",
			EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "certs"}}}},
		}}
	}
	s := newStory(t, nil)
	for i, name := range []string{"debug-1", "debug-2"} {
		s.onVirtual(func(pod *corev1.Pod) {
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, debug(name))
		})
		require.Equal(t, "patch host/ephemeralcontainers: virtual object differs; "+updated, s.settle())
		require.Len(t, s.host().Spec.EphemeralContainers, i+1)
	}
	added := s.host().Spec.EphemeralContainers[1]
	require.Equal(t, naming.Host("team-a", "default", "certs"), added.EnvFrom[0].SecretRef.Name)
	require.Equal(t, "KUBERNETES_SERVICE_HOST", added.Env[0].Name)
	require.Equal(t, "3", s.host().Annotations[podGeneration])
}

func TestPodWithAnEphemeralContainerFromTheStartGetsItLater(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.world.HostObjects = nil
	s.onVirtual(func(pod *corev1.Pod) {
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	})
	require.Equal(t, "create host: new; patch host/ephemeralcontainers: virtual object differs", s.settle())
}

func TestPodResizeGoesThroughItsSubresource(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) { pod.Spec.Containers[0].Resources = requests("100m") })
	s.onHost(func(pod *corev1.Pod) { // a LimitRange of the host's
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: apiresource.MustParse("1Gi")}
	})
	s.onHost(func(pod *corev1.Pod) { // an autoscaler of the host's
		pod.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = apiresource.MustParse("150m")
	})
	require.Empty(t, s.settle())
	s.onVirtual(func(pod *corev1.Pod) { pod.Spec.Containers[0].Resources = requests("200m"); pod.Labels["x"] = "y" })
	require.Equal(t, updated+"; patch host/resize: virtual object differs; "+updated, s.settle())
	got := s.host().Spec.Containers[0].Resources
	require.Equal(t, "200m", got.Requests.Cpu().String())
	require.Equal(t, "1Gi", got.Limits.Memory().String())
}

func TestPodTolerationsAreAdded(t *testing.T) {
	t.Parallel()
	notReady := corev1.Toleration{Key: "not-ready", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))}
	s := newStory(t, func(pod *corev1.Pod) { pod.Spec.Tolerations = []corev1.Toleration{notReady} })
	s.onHost(func(pod *corev1.Pod) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Key: "host"})
	})
	require.Empty(t, s.settle())
	shorter := notReady
	shorter.TolerationSeconds = new(int64(5))
	s.onVirtual(func(pod *corev1.Pod) { pod.Spec.Tolerations = []corev1.Toleration{shorter, {Key: "gpu"}} })
	require.Equal(t, updated, s.settle())
	require.Empty(t, cmp.Diff([]corev1.Toleration{shorter, {Key: "host"}, {Key: "gpu"}}, s.host().Spec.Tolerations))
}

func TestPodGatesAreLifted(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) {
		pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "a"}, {Name: "b"}}
	})
	s.onHost(func(pod *corev1.Pod) {
		pod.Spec.SchedulingGates = append(pod.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: "host"})
	})
	require.Empty(t, s.settle())
	s.onVirtual(func(pod *corev1.Pod) {
		pod.Spec.SchedulingGates = pod.Spec.SchedulingGates[1:]
		pod.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	})
	require.Equal(t, updated, s.settle())
	require.Equal(t, []corev1.PodSchedulingGate{{Name: "b"}, {Name: "host"}}, s.host().Spec.SchedulingGates)
	require.Equal(t, "ssd", s.host().Spec.NodeSelector["disk"])
	s.onVirtual(func(pod *corev1.Pod) { pod.Spec.SchedulingGates = nil })
	require.Equal(t, updated, s.settle())
	require.Equal(t, []corev1.PodSchedulingGate{{Name: "host"}}, s.host().Spec.SchedulingGates)
}

func TestPodDeadlinesOnlyShrink(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) { pod.Spec.TerminationGracePeriodSeconds = new(int64(-1)) })
	s.onVirtual(func(pod *corev1.Pod) {
		pod.Spec.ActiveDeadlineSeconds = new(int64(60))
		pod.Spec.TerminationGracePeriodSeconds = new(int64(1))
	})
	require.Equal(t, updated, s.settle())
	require.EqualValues(t, 60, *s.host().Spec.ActiveDeadlineSeconds)
	require.EqualValues(t, 1, *s.host().Spec.TerminationGracePeriodSeconds)
	s.onHost(func(pod *corev1.Pod) { pod.Spec.ActiveDeadlineSeconds = new(int64(30)) })
	require.Empty(t, s.settle())
}

func TestPodAnnotationsStayWithinTheServersLimit(t *testing.T) {
	t.Parallel()
	show := func(pod *corev1.Pod) {
		pod.Spec.Volumes = []corev1.Volume{{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{{Path: "a", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}}},
		}}}}
	}
	size := func(annotations map[string]string) (total int) {
		for key, value := range annotations {
			total += len(key) + len(value)
		}
		return total
	}
	s := newStory(t, func(pod *corev1.Pod) {
		show(pod)
		pod.Annotations = map[string]string{"large": strings.Repeat("ü", 100<<10), "small": "x"}
	})
	require.Less(t, size(s.host().Annotations), 256<<10)
	require.NotContains(t, s.host().Annotations, "large")
	require.Equal(t, "x", s.host().Annotations["small"])
	require.Contains(t, s.host().Annotations[podAnnotations], "large=\"üü")

	// Escaped, this is more than any annotation may hold.
	s.onVirtual(func(pod *corev1.Pod) { pod.Annotations["large"] = strings.Repeat("\x01", 100<<10) })
	_, err := podToHost(s.env, s.virtual())
	require.ErrorContains(t, err, "AnnotationsTooLarge")
}

func TestPodInACrowdedNamespaceGetsNoServiceLinks(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	for i := range 3000 {
		s.world.VirtualObjects = append(s.world.VirtualObjects, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("service-%d", i)},
			Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: []corev1.ServicePort{{Port: 80}}},
		})
	}
	pod, err := podToHost(s.env, s.virtual())
	require.NoError(t, err)
	require.Len(t, pod.Spec.Containers[0].Env, 8)
}

// A tenant that labels its node when a pod waits for one: the host pod is made anew while it
// has no node, and never after.
func TestPodIsReplacedWhileTheTenantsNodesChange(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) { pod.Spec.NodeSelector = map[string]string{"example.com/disk": "ssd"} })
	require.Equal(t, map[string]string{"example.com/disk": "ssd"}, s.host().Spec.NodeSelector, "the host may know the label")
	s.onHost(func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
	})
	s.settle()
	require.True(t, podBegan(s.virtual()))
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: "node-1", Labels: map[string]string{"example.com/disk": "ssd"},
		Annotations: map[string]string{resource.AnnotationMirror: "true", resource.AnnotationCopied: ""},
	}}
	s.world.VirtualObjects = append(s.world.VirtualObjects, node)
	require.Equal(t, "patch virtual/status: host object can't be changed in place; delete host: can't be changed in place; create host: new; patch virtual/status: host status differs", s.settle())
	require.Equal(t, onNode(corev1.NodeSelectorOpIn, "node-1"), s.host().Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0])
	require.Empty(t, s.host().Spec.NodeSelector)
	s.onHost(func(pod *corev1.Pod) {
		pod.Spec.NodeName = "node-1"
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	})
	s.settle()
	require.False(t, saysAbsent(s.virtual()))
	placed := s.host().DeepCopy()
	node.Labels = nil
	s.settle()
	require.Equal(t, placed, s.host(), "who has a node keeps it")
}

// The API server writes down that a pod ends before it takes it away, at once or not: what is
// seen in between is no end of the virtual pod.
func TestPodOutlivesItsReplacement(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) { pod.Spec.NodeSelector = map[string]string{"example.com/disk": "ssd"} })
	s.onHost(func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
	})
	s.settle()
	s.onVirtual(func(pod *corev1.Pod) { *pod = *absentPod(s.env, pod, resource.ReasonReplacing, "made anew") })
	now := metav1.NewTime(s.env.Now)
	s.onHost(func(pod *corev1.Pod) { pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, new(int64(0)) })
	require.Empty(t, s.settle())
	require.Nil(t, s.virtual().DeletionTimestamp)
}

package podrules

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func compiled(t *testing.T, expression string) *Rules {
	t.Helper()
	rules, problems := Compile([]Rule{{Name: "rule", Expression: expression, Message: "not here"}})
	require.Empty(t, problems)
	return rules
}

// plus is a plain pod with a change.
func plus(change func(*corev1.Pod)) *corev1.Pod {
	pod := plainPod()
	pod.Spec.Containers[0].Image = "registry.example/main"
	change(pod)
	return pod
}

// Whatever way an image gets into a pod, the rule sees it.
func TestImages(t *testing.T) {
	t.Parallel()
	rules := compiled(t, `images.exists(image, !image.startsWith("registry.example/"))`)
	for name, test := range map[string]struct {
		change  func(*corev1.Pod)
		refused bool
	}{
		"its own":        {func(*corev1.Pod) {}, false},
		"in a container": {func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "evil" }, true},
		"in a second container": {func(pod *corev1.Pod) {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Image: "evil"})
		}, true},
		"in an init container": {func(pod *corev1.Pod) { pod.Spec.InitContainers = []corev1.Container{{Image: "evil"}} }, true},
		"in an ephemeral one": {func(pod *corev1.Pod) {
			pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "evil"}}}
		}, true},
		"in an image volume": {func(pod *corev1.Pod) {
			pod.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "evil"}}}}
		}, true},
		"in none of them":           {func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "" }, false},
		"with the name elsewhere":   {func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "evil/registry.example/main" }, true},
		"with a digest in addition": {func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "registry.example/main@sha256:0" }, false},
	} {
		rejection := rules.Refuse(plus(test.change))
		require.Equal(t, test.refused, rejection != nil, name)
		if test.refused {
			require.Equal(t, `rule "rule" of this cluster's operator does not allow the pod: not here`, rejection.Message)
		}
	}
}

func TestFieldsOfPods(t *testing.T) {
	t.Parallel()
	for expression, change := range map[string]func(*corev1.Pod){
		`has(pod.spec.hostNetwork) && pod.spec.hostNetwork`: func(pod *corev1.Pod) { pod.Spec.HostNetwork = true },
		`pod.spec.?hostPID.orValue(false)`:                  func(pod *corev1.Pod) { pod.Spec.HostPID = true },
		`pod.metadata.namespace.startsWith("secret-")`:      func(pod *corev1.Pod) { pod.Namespace = "secret-1" },
		`pod.metadata.?labels["public"].orValue("") == "yes"`: func(pod *corev1.Pod) {
			pod.Labels = map[string]string{"public": "yes"}
		},
		`containers.exists(c, has(c.securityContext) && has(c.securityContext.privileged) && c.securityContext.privileged)`: func(pod *corev1.Pod) {
			pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}}}
		},
		`has(pod.spec.volumes) && pod.spec.volumes.exists(v, has(v.hostPath))`: func(pod *corev1.Pod) {
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		},
		`containers.exists(c, has(c.ports) && c.ports.exists(p, has(p.hostPort) && p.hostPort > 0))`: func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80}}
		},
		`pod.spec.terminationGracePeriodSeconds > 600`: func(pod *corev1.Pod) { pod.Spec.TerminationGracePeriodSeconds = new(int64(601)) },
	} {
		rules := compiled(t, expression)
		require.Nil(t, rules.Refuse(plainPod()), expression)
		require.NotNil(t, rules.Refuse(plus(change)), expression)
	}
}

func TestBadRulesAreFoundBeforeAnyPodIs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rule Rule
		want string
	}{
		"a misspelt field":       {Rule{Name: "a", Expression: `pod.spec.hostNetwrk`}, `[{0 expression line 1, column 9: undefined field 'hostNetwrk'}]`},
		"a misspelt variable":    {Rule{Name: "a", Expression: `image == "x"`}, `[{0 expression line 1, column 1: undeclared reference to 'image' (in container '')}]`},
		"a field of containers":  {Rule{Name: "a", Expression: `containers.all(c, c.img == "")`}, `[{0 expression line 1, column 20: undefined field 'img'}]`},
		"no bool":                {Rule{Name: "a", Expression: `images`}, `[{0 expression is a list(string): want a bool, which is true of a pod that may not run}]`},
		"the status":             {Rule{Name: "a", Expression: `pod.status.phase == "Running"`}, `[{0 expression line 1, column 4: undefined field 'status'}]`},
		"what need not be there": {Rule{Name: "a", Expression: `pod.spec.hostNetwork`}, `[{0 expression fails for a plain pod, and would refuse every one: no such key: hostNetwork; ask has(…) before what a pod need not have}]`},
		"nothing":                {Rule{Name: "a"}, `[{0 expression is required: it is true of a pod that may not run}]`},
		"a name in capitals":     {Rule{Name: "A", Expression: `false`}, `[{0 name "A" is not a DNS label, such as registry}]`},
		"a message of two lines": {Rule{Name: "a", Expression: `false`, Message: "a\nb"}, `[{0 message has more than one line}]`},
		"a long expression":      {Rule{Name: "a", Expression: strings.Repeat("x", 10241)}, `[{0 expression has 10241 bytes; at most 10240 are allowed}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules, problems := Compile([]Rule{test.rule})
			require.Nil(t, rules)
			require.Contains(t, fmt.Sprint(problems), test.want)
		})
	}
	_, problems := Compile([]Rule{{Name: "a", Expression: "false"}, {Name: "a", Expression: "false"}})
	require.Equal(t, []Problem{{1, "name", `"a" is that of another rule already`}}, problems)
	_, problems = Compile(make([]Rule, 65))
	require.Equal(t, []Problem{{Index: 64, Detail: "is one more than the 64 that there can be"}}, problems)
}

// A pod that is made to break a rule, or to outrun it, is refused.
func TestWhatCannotBeEvaluatedIsRefused(t *testing.T) {
	t.Parallel()
	rules := compiled(t, `has(pod.metadata.labels) && int(pod.metadata.labels["weight"]) > 3`)
	for _, labels := range []map[string]string{{"weight": "heavy"}, {"other": ""}, {"weight": "4"}} {
		require.NotNil(t, rules.Refuse(plus(func(pod *corev1.Pod) { pod.Labels = labels })), "%v", labels)
	}
	require.Nil(t, rules.Refuse(plus(func(pod *corev1.Pod) { pod.Labels = map[string]string{"weight": "3"} })))

	costly := compiled(t, `containers.exists(a, containers.exists(b, containers.exists(c, a.name + b.name + c.name == "x")))`)
	rejection := costly.Refuse(plus(func(pod *corev1.Pod) {
		for i := range 400 {
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: fmt.Sprint(i)})
		}
	}))
	require.NotNil(t, rejection)
	require.Contains(t, rejection.Message, "cost limit exceeded")
}

func TestNoRulesRefuseNothing(t *testing.T) {
	t.Parallel()
	rules, problems := Compile(nil)
	require.Empty(t, problems)
	require.Nil(t, rules.Refuse(&corev1.Pod{}))
}

func TestRulesAreAskedAtOnceAndChangeNothing(t *testing.T) {
	t.Parallel()
	rules := compiled(t, `images.exists(image, image == "evil")`)
	pod := plus(func(pod *corev1.Pod) { pod.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}} })
	before := pod.DeepCopy()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { require.Nil(t, rules.Refuse(pod)) })
	}
	group.Wait()
	require.Equal(t, before, pod)
}

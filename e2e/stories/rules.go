package stories

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/podrules"
)

// OperatorSettings are those of the tenant World.Namespaced: rules for its pods, and objects
// that it has from the beginning. They are in nobody's way who does not look for them.
func OperatorSettings() config.Config {
	return config.Config{
		Pods: config.Pods{
			Deny: []podrules.Rule{{
				Name: "images", Expression: `images.exists(image, image.startsWith("forbidden.example/"))`,
				Message: "take the image from allowed.example instead",
			}},
			Force: config.PodForce{
				NodeSelector: map[string]string{corev1.LabelOSStable: "linux"},
				Tolerations:  []corev1.Toleration{{Key: "stories.example/tenants", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
			},
		},
		InitialObjects: []config.Document{{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "welcome", "namespace": "from-the-operator"},
			"data": map[string]any{"support": "support@platform.example"},
		}, {
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "from-the-operator"},
		}},
	}
}

func operatorRules() []Story {
	return []Story{
		{Name: "what the operator's rules refuse is refused at once, whoever asks and however", Run: deniedPods},
		{Name: "what the operator forces stands on the host and not in the tenant", Run: forcedPods},
		{Name: "the operator's objects are there from the beginning, and come back", Run: initialObjects},
	}
}

const deniedMessage = `rule "images" of this cluster's operator does not allow the pod: take the image from allowed.example instead`

func deniedPods(t *testing.T, w *World) {
	if w.Namespaced == nil {
		t.Skip("no tenant has rules")
	}
	tenant := w.Namespaced
	space := namespace(t, tenant, "denied")
	refused := func(err error) {
		t.Helper()
		require.True(t, apierrors.IsForbidden(err), "%v", err)
		require.ErrorContains(t, err, deniedMessage)
	}
	evil := decode[corev1.Pod](t, w, `
metadata: {name: evil}
spec: {containers: [{name: main, image: forbidden.example/a}]}
`)
	_, err := tenant.Client.CoreV1().Pods(space).Create(t.Context(), evil, metav1.CreateOptions{})
	refused(err)
	syncer := rest.CopyConfig(tenant.Config)
	syncer.Impersonate = rest.ImpersonationConfig{UserName: "nestling:syncer", Groups: []string{"system:masters"}}
	client, err := kubernetes.NewForConfig(syncer)
	require.NoError(t, err)
	_, err = client.CoreV1().Pods(space).Create(t.Context(), evil, metav1.CreateOptions{})
	refused(err)

	good := runPod(t, w, tenant, space, `
metadata: {name: good}
spec: {containers: [{name: main, image: IMAGE, command: IDLE}]}
`)
	for subresource, patch := range map[string]string{
		"":                    `{"spec":{"containers":[{"name":"main","image":"forbidden.example/a"}]}}`,
		"ephemeralcontainers": `{"spec":{"ephemeralContainers":[{"name":"debug","image":"forbidden.example/a"}]}}`,
	} {
		subresources := []string{subresource}
		if subresource == "" {
			subresources = nil
		}
		_, err := tenant.Client.CoreV1().Pods(space).Patch(t.Context(), good.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
		refused(err)
	}
	host := hostPodOf(t, w, tenant, good)
	require.Equal(t, good.Spec.Containers[0].Image, host.Spec.Containers[0].Image)
	require.Empty(t, host.Spec.EphemeralContainers)

	set, err := tenant.Client.AppsV1().ReplicaSets(space).Create(t.Context(), decode[appsv1.ReplicaSet](t, w, `
metadata: {name: evil}
spec:
  selector: {matchLabels: {app: evil}}
  template: {metadata: {labels: {app: evil}}, spec: {containers: [{name: main, image: forbidden.example/a}]}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	waitEvent(t, tenant, space, set.Name, "FailedCreate", deniedMessage)
}

func forcedPods(t *testing.T, w *World) {
	if w.Namespaced == nil {
		t.Skip("no tenant has rules")
	}
	forced := OperatorSettings().Pods.Force
	pod := runPod(t, w, w.Namespaced, namespace(t, w.Namespaced, "forced"), `
metadata: {name: plain}
spec: {containers: [{name: main, image: IMAGE, command: IDLE}]}
`)
	require.Empty(t, pod.Spec.NodeSelector)
	require.NotContains(t, pod.Spec.Tolerations, forced.Tolerations[0])
	host := hostPodOf(t, w, w.Namespaced, pod)
	require.Equal(t, forced.NodeSelector, host.Spec.NodeSelector)
	require.Contains(t, host.Spec.Tolerations, forced.Tolerations[0])
}

func initialObjects(t *testing.T, w *World) {
	if w.Namespaced == nil {
		t.Skip("no tenant has objects of its operator's")
	}
	settings := w.Namespaced.Client.CoreV1().ConfigMaps("from-the-operator")
	isThere := func(ctx context.Context) (bool, string) {
		welcome, err := settings.Get(ctx, "welcome", metav1.GetOptions{})
		return err == nil && welcome.Data["support"] == "support@platform.example", errText(err)
	}
	eventually(t, "the object is there", isThere)
	_, err := settings.Patch(t.Context(), "welcome", types.MergePatchType, []byte(`{"data":{"support":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, "what was taken out of it comes back", isThere)
	require.NoError(t, settings.Delete(t.Context(), "welcome", metav1.DeleteOptions{}))
	eventually(t, "the object comes back", isThere)
	require.NoError(t, w.Namespaced.Client.CoreV1().Namespaces().Delete(t.Context(), "from-the-operator", metav1.DeleteOptions{}))
	eventually(t, "the object comes back after its namespace", func(ctx context.Context) (bool, string) {
		namespace, err := w.Namespaced.Client.CoreV1().Namespaces().Get(ctx, "from-the-operator", metav1.GetOptions{})
		if err != nil || namespace.DeletionTimestamp != nil {
			return false, errText(err)
		}
		return isThere(ctx)
	})
}

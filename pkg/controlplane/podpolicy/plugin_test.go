package podpolicy_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/controlplane/podpolicy"
	"nestling.dev/nestling/pkg/podrules"
	"nestling.dev/nestling/syncer/resource"
)

const message = `rule "registry" of this cluster's operator does not allow the pod: images come from registry.example`

// world is an API server whose rules come when a test says so.
type world struct {
	*controlplanetest.Server
	client kubernetes.Interface
	on     atomic.Bool
}

func start(t *testing.T) *world {
	t.Helper()
	rules, problems := podrules.Compile([]podrules.Rule{
		{Name: "registry", Expression: `images.exists(image, !image.startsWith("registry.example/"))`, Message: "images come from registry.example"},
		{Name: "label", Expression: `"public" in pod.metadata.?labels.orValue({})`},
		{Name: "cpu", Expression: `containers.exists(c, quantity(c.?resources.requests["cpu"].orValue("0")).isGreaterThan(quantity("1")))`},
	})
	require.Empty(t, problems)
	w := &world{}
	w.on.Store(true)
	refuse := func(pod *corev1.Pod) *resource.Rejection {
		if !w.on.Load() {
			return nil
		}
		return rules.Refuse(pod)
	}
	w.Server = controlplanetest.Start(t, controlplanetest.Options{Configure: func(opts *controlplane.APIServerOptions) {
		opts.ValidatingLast = []controlplane.AdmissionPlugin{{Name: podpolicy.PluginName, New: podpolicy.Factory(refuse)}}
	}})
	client, err := kubernetes.NewForConfig(w.Config)
	require.NoError(t, err)
	w.client = client
	_, err = client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return w
}

func pod(name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       corev1.PodSpec{AutomountServiceAccountToken: new(false), Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
}

func (w *world) create(ctx context.Context, pod *corev1.Pod, dryRun ...string) error {
	_, err := w.client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{DryRun: dryRun})
	return err
}

func (w *world) patch(ctx context.Context, name, patch string, subresources ...string) error {
	_, err := w.client.CoreV1().Pods("default").Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
	return err
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.ErrorContains(t, err, want)
}

func TestRulesAtTheDoor(t *testing.T) {
	t.Parallel()
	w := start(t)
	t.Run("a new pod, however it comes", w.newPods)
	t.Run("a change of a pod, by whatever subresource", w.changes)
	t.Run("nobody is exempt", w.nobody)
	t.Run("a pod that was there before the rule", w.older)
}

func (w *world) newPods(t *testing.T) {
	refused(t, w.create(t.Context(), pod("evil", "evil")), message)
	refused(t, w.create(t.Context(), pod("evil", "evil"), metav1.DryRunAll), message)
	generated := pod("", "evil")
	generated.GenerateName = "evil-"
	refused(t, w.create(t.Context(), generated), message)
	init := pod("evil", "registry.example/a")
	init.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "evil"}}
	refused(t, w.create(t.Context(), init), message)
	bound := pod("evil", "evil")
	bound.Spec.NodeName = "node-1"
	refused(t, w.create(t.Context(), bound), message)
	_, err := w.client.CoreV1().Pods("default").Patch(t.Context(), "evil", types.ApplyPatchType,
		[]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"evil"},"spec":{"containers":[{"name":"main","image":"evil"}]}}`),
		metav1.PatchOptions{FieldManager: "test"})
	refused(t, err, message)
	require.NoError(t, w.create(t.Context(), pod("good", "registry.example/a")))
}

func (w *world) changes(t *testing.T) {
	ctx := t.Context()
	changed := pod("changed", "registry.example/a")
	changed.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": apiresource.MustParse("100m")}
	require.NoError(t, w.create(ctx, changed))
	refused(t, w.patch(ctx, "changed", `{"spec":{"containers":[{"name":"main","image":"evil"}]}}`), message)
	refused(t, w.patch(ctx, "changed", `{"spec":{"ephemeralContainers":[{"name":"debug","image":"evil"}]}}`, "ephemeralcontainers"), message)
	refused(t, w.patch(ctx, "changed", `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"2"}}}]}}`, "resize"), `rule "cpu"`)
	refused(t, w.patch(ctx, "changed", `{"metadata":{"labels":{"public":"yes"}}}`), `rule "label"`)

	require.NoError(t, w.patch(ctx, "changed", `{"spec":{"containers":[{"name":"main","image":"registry.example/b"}]}}`))
	require.NoError(t, w.patch(ctx, "changed", `{"spec":{"ephemeralContainers":[{"name":"debug","image":"registry.example/debug"}]}}`, "ephemeralcontainers"))
	require.NoError(t, w.patch(ctx, "changed", `{"metadata":{"labels":{"app":"web"}}}`))
}

func (w *world) nobody(t *testing.T) {
	for _, user := range []string{"nestling:syncer", "system:apiserver", "system:kube-controller-manager"} {
		config := rest.CopyConfig(w.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
		client, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		_, err = client.CoreV1().Pods("default").Create(t.Context(), pod("evil", "evil"), metav1.CreateOptions{})
		refused(t, err, message)
	}
}

// It runs on until somebody changes it, and can end.
func (w *world) older(t *testing.T) {
	ctx := t.Context()
	w.on.Store(false)
	older := pod("older", "evil")
	older.Finalizers = []string{"test.example/hold"}
	require.NoError(t, w.create(ctx, older))
	w.on.Store(true)
	require.NoError(t, w.patch(ctx, "older", `{"status":{"phase":"Running"}}`, "status"))
	refused(t, w.patch(ctx, "older", `{"metadata":{"labels":{"app":"web"}}}`), message)
	require.NoError(t, w.client.CoreV1().Pods("default").Delete(ctx, "older", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	require.NoError(t, w.patch(ctx, "older", `{"metadata":{"finalizers":null}}`))
	controlplanetest.Eventually(t, "end", func(ctx context.Context) (string, error) {
		_, err := w.client.CoreV1().Pods("default").Get(ctx, "older", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return "it is still there", err
	})
}

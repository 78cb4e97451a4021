package stories

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
)

func ownership() []Story {
	return []Story{
		{Name: "a host object of somebody else under our name is left alone, and an event says so", Run: nameTaken},
		{Name: "a host pod of somebody else under our name is left alone, and an event says so", Run: podNameTaken},
		{Name: "a host object of ours that somebody edits or deletes is repaired", Run: repaired},
	}
}

// synced is the ConfigMap that goes to the host without a pod.
func synced(t *testing.T, w *World, space, name, value string) {
	t.Helper()
	_, err := w.A.Client.CoreV1().ConfigMaps(space).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"nestling.dev/sync": "true"}},
		Data:       map[string]string{"value": value},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func nameTaken(t *testing.T, w *World) {
	space := namespace(t, w.A, "taken")
	name := naming.Host(w.A.Name, space, "settings")
	host := w.Host.CoreV1().ConfigMaps(w.HostNamespace)
	foreign, err := host.Create(t.Context(), &corev1.ConfigMap{
		// It wears our labels too: they do not make it ours.
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"nestling.dev/tenant": w.A.Name, "nestling.dev/namespace": space}},
		Data:       map[string]string{"value": "somebody else's"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = host.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	synced(t, w, space, "settings", "ours")
	event := waitEvent(t, w.A, space, "settings", "HostNameTaken", "")
	require.Equal(t, corev1.EventTypeWarning, event.Type)
	require.NotContains(t, event.Message, name)
	_, err = w.A.Client.CoreV1().ConfigMaps(space).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"value":"ours, changed"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, w.A.Client.CoreV1().ConfigMaps(space).Delete(t.Context(), "settings", metav1.DeleteOptions{}))
	// What is asked for later is done later: when it shows, the deletion was seen.
	synced(t, w, space, "later", "")
	eventually(t, "the later ConfigMap", func(ctx context.Context) (bool, string) {
		_, err := host.Get(ctx, naming.Host(w.A.Name, space, "later"), metav1.GetOptions{})
		return err == nil, errText(err)
	})
	now, err := host.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, foreign.ResourceVersion, now.ResourceVersion, "it was never touched")

	// When it goes, the name is ours.
	synced(t, w, space, "settings", "ours again")
	require.NoError(t, host.Delete(t.Context(), name, metav1.DeleteOptions{}))
	eventually(t, "our ConfigMap", func(ctx context.Context) (bool, string) {
		now, err := host.Get(ctx, name, metav1.GetOptions{})
		return err == nil && now.Data["value"] == "ours again", errText(err)
	})
}

func podNameTaken(t *testing.T, w *World) {
	space := namespace(t, w.A, "taken-pod")
	name := naming.Host(w.A.Name, space, "web")
	host := w.Host.CoreV1().Pods(w.HostNamespace)
	foreign := decode[corev1.Pod](t, w, `
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: IMAGE}]
`)
	foreign.Name = name
	foreign, err := host.Create(t.Context(), foreign, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = host.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	// The node makes the tenant's API server ask its kubelet.
	pod := createPod(t, w, w.A, space, `
metadata: {name: web}
spec: {nodeName: `+nodeNames(t, w)[0]+`, containers: [{name: main, image: IMAGE}]}
`)
	waitEvent(t, w.A, space, "web", "HostNameTaken", "")
	// It is no way into the other's pod.
	_, err = w.A.Client.CoreV1().Pods(space).GetLogs("web", &corev1.PodLogOptions{}).DoRaw(t.Context())
	require.Error(t, err)
	_, err = tryShell(t.Context(), w.A, pod, "main", "id")
	require.Error(t, err)
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, "the end of the virtual pod", func(ctx context.Context) (bool, string) {
		_, err := w.A.Client.CoreV1().Pods(space).Get(ctx, "web", metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	now, err := host.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, foreign.UID, now.UID)
	require.Nil(t, now.DeletionTimestamp)
	for key := range now.Labels {
		require.NotContains(t, key, "nestling.dev/")
	}
}

func repaired(t *testing.T, w *World) {
	space := namespace(t, w.A, "repaired")
	host := w.Host.CoreV1().ConfigMaps(w.HostNamespace)
	name := naming.Host(w.A.Name, space, "settings")
	synced(t, w, space, "settings", "right")
	is := func(what string, good func(*corev1.ConfigMap) bool) {
		t.Helper()
		eventually(t, what, func(ctx context.Context) (bool, string) {
			now, err := host.Get(ctx, name, metav1.GetOptions{})
			return err == nil && now.Data["value"] == "right" && good(now), errText(err) + asJSON(now)
		})
	}
	is("the ConfigMap on the host", func(*corev1.ConfigMap) bool { return true })
	for what, edit := range map[string]string{
		"data":        `{"data":{"value":"wrong","more":"data"}}`,
		"labels":      `{"metadata":{"labels":{"nestling.dev/tenant":null,"nestling.dev/namespace":"elsewhere"}}}`,
		"annotations": `{"metadata":{"annotations":{"nestling.dev/name":"another"}}}`,
		"owners":      `{"metadata":{"ownerReferences":null}}`,
	} {
		_, err := host.Patch(t.Context(), name, types.MergePatchType, []byte(edit), metav1.PatchOptions{})
		require.NoError(t, err)
		is("repaired "+what, func(now *corev1.ConfigMap) bool {
			return len(now.Data) == 1 && now.Labels["nestling.dev/tenant"] == w.A.Name && now.Labels["nestling.dev/namespace"] == space &&
				now.Annotations["nestling.dev/name"] == "settings" && len(now.OwnerReferences) == 1
		})
	}
	// What others add survives.
	_, err := host.Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"labels":{"others":"label"},"annotations":{"others":"note"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = w.A.Client.CoreV1().ConfigMaps(space).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"metadata":{"labels":{"mine":"too"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	is("labels of all", func(now *corev1.ConfigMap) bool {
		return now.Labels["others"] == "label" && now.Labels["mine"] == "too" && now.Annotations["others"] == "note"
	})
	before, err := host.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, host.Delete(t.Context(), name, metav1.DeleteOptions{}))
	is("another ConfigMap", func(now *corev1.ConfigMap) bool { return now.UID != before.UID })
	// And it goes when ours goes.
	require.NoError(t, w.A.Client.CoreV1().ConfigMaps(space).Delete(t.Context(), "settings", metav1.DeleteOptions{}))
	eventually(t, "no ConfigMap on the host", func(ctx context.Context) (bool, string) {
		_, err := host.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
}

package stories

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/yaml"
)

// agnhostImage is on every real node besides the world's image; it has no shell.
const agnhostImage = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"

// decode reads a manifest. IMAGE in it is the world's image, IDLE a command that does
// nothing and ends at once when it is told to, PROBE is probe.
func decode[T any](t *testing.T, w *World, manifest string) *T {
	t.Helper()
	object := new(T)
	require.NoError(t, yaml.UnmarshalStrict([]byte(expand(w, manifest)), object))
	return object
}

func expand(w *World, manifest string) string {
	return strings.NewReplacer(
		"IMAGE", w.Image,
		"PROBE", probe,
		"IDLE", `[sh, -c, "trap exit TERM; sleep 100000 & wait"]`,
	).Replace(manifest)
}

// createPod makes a pod. Its grace period is a second unless it says another.
func createPod(t *testing.T, w *World, tenant *Tenant, namespace, manifest string) *corev1.Pod {
	t.Helper()
	return createPodObject(t, tenant, namespace, decode[corev1.Pod](t, w, manifest))
}

func createPodObject(t *testing.T, tenant *Tenant, namespace string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	if pod.Spec.TerminationGracePeriodSeconds == nil {
		pod.Spec.TerminationGracePeriodSeconds = new(int64(1))
	}
	made, err := tenant.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err, "create pod %s", pod.Name)
	return made
}

// runPod makes a pod and waits until it is ready.
func runPod(t *testing.T, w *World, tenant *Tenant, namespace, manifest string) *corev1.Pod {
	t.Helper()
	made := createPod(t, w, tenant, namespace, manifest)
	return waitPod(t, tenant, namespace, made.Name, "is ready", isReady)
}

// waitPod waits until a pod is as it should be.
func waitPod(t *testing.T, tenant *Tenant, namespace, name, what string, is func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, "pod "+name+" "+what, func(ctx context.Context) (bool, string) {
		var err error
		if pod, err = tenant.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		return is(pod), asJSON(pod.Status) + lastEvents(ctx, tenant, pod)
	})
	return pod
}

// lastEvents are the messages about a pod, for a failure's sake.
func lastEvents(ctx context.Context, tenant *Tenant, pod *corev1.Pod) string {
	if ctx.Err() == nil && pod.Status.Phase != corev1.PodPending {
		return ""
	}
	events, err := tenant.Client.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID)})
	if err != nil {
		return ""
	}
	var out strings.Builder
	for _, event := range events.Items {
		fmt.Fprintf(&out, "\n%s: %s", event.Reason, event.Message)
	}
	return out.String()
}

func isReady(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && condition(pod, corev1.PodReady) == corev1.ConditionTrue
}

func hasEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == kind {
			return condition.Status
		}
	}
	return ""
}

// containerStatus is that of any container of a pod, main, init or ephemeral.
func containerStatus(pod *corev1.Pod, name string) corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for _, status := range list {
			if status.Name == name {
				return status
			}
		}
	}
	return corev1.ContainerStatus{}
}

// waitEvent waits for an event about an object whose message contains words.
func waitEvent(t *testing.T, tenant *Tenant, namespace, name, reason, words string) corev1.Event {
	t.Helper()
	var found corev1.Event
	eventually(t, fmt.Sprintf("event %s about %s with %q", reason, name, words), func(ctx context.Context) (bool, string) {
		events, err := tenant.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err != nil {
			return false, err.Error()
		}
		var saw []string
		for _, event := range events.Items {
			if event.Reason == reason && strings.Contains(event.Message, words) {
				found = event
				return true, ""
			}
			saw = append(saw, event.Reason+": "+event.Message)
		}
		return false, strings.Join(saw, "\n")
	})
	return found
}

// hostPodOf is the host pod of a virtual pod.
func hostPodOf(t *testing.T, w *World, tenant *Tenant, virtual *corev1.Pod) *corev1.Pod {
	t.Helper()
	pods, err := w.Host.CoreV1().Pods(w.HostNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "nestling.dev/tenant=" + tenant.Name})
	require.NoError(t, err)
	for i := range pods.Items {
		if pods.Items[i].Annotations["nestling.dev/uid"] == string(virtual.UID) {
			return &pods.Items[i]
		}
	}
	require.Fail(t, "no host pod", "of pod %s/%s of tenant %s", virtual.Namespace, virtual.Name, tenant.Name)
	return nil
}

// requireTenantsWords fails where text, which the tenant sees about a pod, has words of
// the host's.
func requireTenantsWords(t *testing.T, w *World, host *corev1.Pod, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, w.Image, "") // an image is the tenant's own word
	require.NotContains(t, text, host.Name, "the host pod's name")
	if w.Real { // simulated containers are numbered by it
		require.NotContains(t, text, string(host.UID), "the host pod's UID")
	}
	require.NotRegexp(t, `(^|[^-a-z0-9])`+w.HostNamespace+`($|[^-a-z0-9])`, text, "the host's namespace")
	require.NotContains(t, text, host.Spec.ServiceAccountName, "the ServiceAccount of host pods")
}

// shell runs a script in a container and wants it to succeed; container may be empty.
func shell(t *testing.T, tenant *Tenant, pod *corev1.Pod, container, script string) string {
	t.Helper()
	out, err := tryShell(t.Context(), tenant, pod, container, script)
	require.NoError(t, err, "in pod %s: %s: %s", pod.Name, script, out)
	return out
}

// tryShell is both outputs of a script in a container.
func tryShell(ctx context.Context, tenant *Tenant, pod *corev1.Pod, container, script string) (string, error) {
	return tryExec(ctx, tenant, pod, container, "sh", "-c", script)
}

// tryExec is both outputs of a program in a container.
func tryExec(ctx context.Context, tenant *Tenant, pod *corev1.Pod, container string, command ...string) (string, error) {
	if container == "" {
		container = pod.Spec.Containers[0].Name
	}
	request := tenant.Client.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(tenant.Config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	var out, messages bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &messages})
	return strings.TrimSuffix(out.String()+messages.String(), "\n"), err
}

// eventuallyShell waits until a script prints what is wanted.
func eventuallyShell(t *testing.T, tenant *Tenant, pod *corev1.Pod, script, want string) {
	t.Helper()
	eventually(t, "in pod "+pod.Name+": "+script, func(ctx context.Context) (bool, string) {
		out, err := tryShell(ctx, tenant, pod, "", script)
		return err == nil && out == want, out + " " + errText(err)
	})
}

// logs of a container.
func logs(t *testing.T, tenant *Tenant, pod *corev1.Pod, options corev1.PodLogOptions) string {
	t.Helper()
	data, err := tenant.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &options).DoRaw(t.Context())
	require.NoError(t, err, "logs of pod %s", pod.Name)
	return string(data)
}

func asJSON(object any) string {
	data, err := json.Marshal(object)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// patchPod changes a pod, or a subresource of it, by a strategic merge patch.
func patchPod(t *testing.T, tenant *Tenant, pod *corev1.Pod, patch string, subresources ...string) *corev1.Pod {
	t.Helper()
	patched, err := tenant.Client.CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
	require.NoError(t, err, "patch pod %s: %s", pod.Name, patch)
	return patched
}

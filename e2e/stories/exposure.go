package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/e2e/addon/cloud"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

func exposures() []Story {
	return []Story{
		{Name: "the kubeconfig Secret works for every way to the tenant's API, from outside the pods' network", Real: true, Run: exposed},
		{Name: "kubeconfigs in other namespaces let their readers do what they may, and go with the tenant", Real: true, Run: readers},
	}
}

// manifests applies a tenant's as a platform team does, or deletes them.
func manifests(ctx context.Context, w *World, verb string, o *deploy.Options) error {
	text, err := deploy.YAML(*o)
	if err != nil {
		return err
	}
	args := []string{"--kubeconfig", w.HostKubeconfig, verb, "-f", "-"}
	if verb == "delete" {
		args = append(args, "--ignore-not-found")
	}
	command := exec.CommandContext(ctx, w.Kubectl, args...)
	command.Stdin = strings.NewReader(string(text))
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", verb, err, out)
	}
	return nil
}

// outsider is a tenant of manifests; what they are in the end is deleted then.
func outsider(t *testing.T, w *World, name string) *deploy.Options {
	t.Helper()
	o := deploy.Default()
	o.Tenant, o.Namespace, o.Ephemeral, o.Image = name, w.HostNamespace, true, node.ProductImage
	t.Cleanup(func() { require.NoError(t, manifests(context.Background(), w, "delete", &o)) })
	return &o
}

// awaitSecret waits for a kubeconfig with a server that is wanted, and for an answer of that server's to who comes by
// dial; nil dials as everybody does.
func awaitSecret(t *testing.T, w *World, namespace, name, key string, wanted func(server string) bool, dial func(context.Context, string, string) (net.Conn, error)) []byte {
	t.Helper()
	var text []byte
	eventually(t, "an answer at the address in Secret "+name, func(ctx context.Context) (bool, string) {
		secret, err := w.Host.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		text = secret.Data[key]
		reader, err := clientcmd.RESTConfigFromKubeConfig(text)
		if err != nil || !wanted(reader.Host) {
			return false, fmt.Sprint(reader, err)
		}
		reader.Dial = dial
		return answers(ctx, reader)
	})
	return text
}

func answers(ctx context.Context, reader *rest.Config) (bool, string) {
	client, err := kubernetes.NewForConfig(reader)
	if err != nil {
		return false, err.Error()
	}
	_, err = client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	return err == nil, errText(err)
}

func exposed(t *testing.T, w *World) {
	const name = "exposed"
	// The node is outside the pods' network, and knows the addresses of load balancers.
	nodes := runHostPod(t, w, "outside", `{hostNetwork: true, containers: [{name: main, image: IMAGE}]}`)
	fromNode := func(ctx context.Context, network, address string) (net.Conn, error) {
		return w.DialFrom(ctx, nodes, network, address)
	}
	o := outsider(t, w, name)
	o.Config.APIServer.Exposure = config.Exposure{Type: config.ExposeLoadBalancer, Port: 6443}
	require.NoError(t, manifests(t.Context(), w, "apply", o))
	awaitSecret(t, w, w.HostNamespace, name+"-kubeconfig", "config", func(server string) bool {
		service, err := w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), name, metav1.GetOptions{})
		return err == nil && len(service.Status.LoadBalancer.Ingress) == 1 && server == "https://"+service.Status.LoadBalancer.Ingress[0].IP+":6443"
	}, fromNode)

	// Another way is another apply.
	o.Config.APIServer.Exposure = config.Exposure{Type: config.ExposeNodePort}
	require.NoError(t, manifests(t.Context(), w, "apply", o))
	address := nodeAddress(t, w)
	text := awaitSecret(t, w, w.HostNamespace, name+"-kubeconfig", "config", func(server string) bool {
		return strings.HasPrefix(server, "https://"+address+":")
	}, nil)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	out, err := exec.CommandContext(t.Context(), w.Kubectl, "--kubeconfig", file, "get", "namespaces", "-o", "name").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "namespace/kube-system")

	const host = "exposed.example.com"
	o.Config.APIServer.Exposure = config.Exposure{Type: config.ExposeIngress, Host: host, IngressClassName: cloud.Class}
	require.NoError(t, manifests(t.Context(), w, "apply", o))
	awaitSecret(t, w, w.HostNamespace, name+"-kubeconfig", "config", func(server string) bool { return server == "https://"+host+":443" },
		func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.Cloud.HTTPS) // where the name would lead
		})
}

// runHostPod is a pod of the host's own, beside those of tenants.
func runHostPod(t *testing.T, w *World, name, spec string) *corev1.Pod {
	t.Helper()
	pods := w.Host.CoreV1().Pods(w.HostNamespace)
	pod := decode[corev1.Pod](t, w, "{metadata: {name: "+name+"}, spec: "+spec+"}")
	_, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, pods.Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	})
	eventually(t, "host pod "+name+" to run", func(ctx context.Context) (bool, string) {
		pod, err = pods.Get(ctx, name, metav1.GetOptions{})
		return err == nil && pod.Status.Phase == corev1.PodRunning, errText(err) + asJSON(pod.Status)
	})
	return pod
}

func readers(t *testing.T, w *World) {
	const name, space = "read", "story-readers"
	_, err := w.Host.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.Host.CoreV1().Namespaces().Delete(context.Background(), space, metav1.DeleteOptions{}))
	})
	secrets := w.Host.CoreV1().Secrets(space)
	_, err = secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string][]byte{"a": []byte("b")}}, metav1.CreateOptions{})
	require.NoError(t, err)

	o := outsider(t, w, name)
	o.Config.APIServer.Exposure.Type = config.ExposeNodePort
	robot := &config.ObjectRef{Name: "robot"}
	o.Config.Kubeconfigs = []config.Kubeconfig{
		{Secret: config.ObjectRef{Namespace: space, Name: "flux"}, Format: config.FormatFlux, ServiceAccount: robot, ClusterRole: "view"},
		{Secret: config.ObjectRef{Namespace: space, Name: "argo"}, Format: config.FormatArgoCD, ServiceAccount: robot, ClusterRole: "view"},
		{Secret: config.ObjectRef{Name: "read-jane"}, User: "jane", ClusterRole: "view", Namespaces: []string{metav1.NamespaceSystem}},
	}
	require.NoError(t, manifests(t.Context(), w, "apply", o))
	anywhere := func(string) bool { return true }
	flux := awaitSecret(t, w, space, "flux", "value", anywhere, nil)
	jane := awaitSecret(t, w, w.HostNamespace, "read-jane", "config", anywhere, nil)

	for who, text := range map[string][]byte{"the robot": flux, "jane": jane} {
		reader, err := clientcmd.RESTConfigFromKubeConfig(text)
		require.NoError(t, err)
		client, err := kubernetes.NewForConfig(reader)
		require.NoError(t, err)
		_, err = client.CoreV1().Secrets(metav1.NamespaceSystem).List(t.Context(), metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), "%s: %v", who, err)
		_, err = client.CoreV1().Pods(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
		require.Equal(t, who == "jane", apierrors.IsForbidden(err), "%s: %v", who, err)
	}
	argo, err := secrets.Get(t.Context(), "argo", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "cluster", argo.Labels["argocd.argoproj.io/secret-type"])
	var said struct{ BearerToken string }
	require.NoError(t, json.Unmarshal(argo.Data["config"], &said))
	require.NotEmpty(t, said.BearerToken)

	// The process may write these two and no other.
	process := rest.CopyConfig(w.HostConfig)
	process.Impersonate.UserName = "system:serviceaccount:" + w.HostNamespace + ":" + name
	attacker, err := kubernetes.NewForConfig(process)
	require.NoError(t, err)
	_, err = attacker.CoreV1().Secrets(space).Get(t.Context(), "theirs", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = attacker.CoreV1().Secrets(space).List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = attacker.CoreV1().Secrets(space).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "more"}}, metav1.CreateOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)

	// They go with the manifests.
	require.NoError(t, manifests(t.Context(), w, "delete", o))
	left, err := secrets.List(t.Context(), metav1.ListOptions{LabelSelector: deploy.ControlPlaneLabel + "=" + name})
	require.NoError(t, err)
	require.Empty(t, left.Items)
}

package stories

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func fleetStories() []Story {
	return []Story{
		{Name: "nestling create makes a tenant usable, and changes nothing when repeated; delete leaves nothing", Real: true, Alone: true, Run: created},
		{Name: "nestling create completes a half-made tenant", Real: true, Run: adopted},
		{Name: "a tenant whose time is over leaves nothing", Real: true, Run: expired},
		{Name: "a tenant that nobody uses leaves nothing", Real: true, Run: unused},
		{Name: "a paused tenant comes back with what it had", Real: true, Run: paused},
		{Name: "a tenant comes back on the volumes that were kept", Real: true, Run: restored},
	}
}

// nestling runs the program as an operator of the host does, and returns its standard output.
func nestling(ctx context.Context, w *World, command, name string, flags ...string) (string, error) {
	args := append([]string{command, name, "-n", w.HostNamespace, "--host-kubeconfig", w.HostKubeconfig}, flags...)
	program := exec.CommandContext(ctx, w.Program, args...)
	var out, said bytes.Buffer
	program.Stdout, program.Stderr = &out, &said
	if err := program.Run(); err != nil {
		return out.String(), fmt.Errorf("nestling %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

// create makes a tenant, to be removed at the end, and connects to it. Its address leads to
// it once kube-proxy has learned of its pod.
func create(t *testing.T, w *World, name string, flags ...string) *Tenant {
	t.Helper()
	tenant := createOnly(t, w, name, flags...)
	waitAPI(t, tenant)
	return tenant
}

// createOnly does not wait for the address.
func createOnly(t *testing.T, w *World, name string, flags ...string) *Tenant {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	t.Cleanup(func() {
		_, err := nestling(context.Background(), w, "delete", name, "--ignore-not-found")
		require.NoError(t, err)
	})
	_, err := nestling(t.Context(), w, "create", name, append([]string{"--image", w.ProductImage, "--kubeconfig", file}, flags...)...)
	require.NoError(t, err)
	return reach(t, w, name, file)
}

// reach connects to a tenant at the address of its Service: names of the host's DNS mean nothing to a test.
func reach(t *testing.T, w *World, name, file string) *Tenant {
	t.Helper()
	service, err := w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	config, err := clientcmd.LoadFromFile(file)
	require.NoError(t, err)
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + service.Spec.ClusterIP + ":443"
	}
	tenant := &Tenant{Name: name, Kubeconfig: file}
	tenant.Config, err = clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
	require.NoError(t, err)
	tenant.Config.QPS = -1
	tenant.Client, err = kubernetes.NewForConfig(tenant.Config)
	require.NoError(t, err)
	return tenant
}

func created(t *testing.T, w *World) {
	const name = "made"
	begin := time.Now()
	tenant := createOnly(t, w, name, "--ephemeral")
	took := time.Since(begin)
	waitAPI(t, tenant)
	// Usable means that a pod is taken at once.
	_, err := tenant.Client.CoreV1().ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{})
	require.NoError(t, err)
	pod := createPod(t, w, tenant, "default", "metadata: {name: first}\nspec: {containers: [{name: main, image: IMAGE, command: IDLE}]}")
	require.Equal(t, "first", pod.Name)
	w.Report(fmt.Sprintf("nestling create of an ephemeral tenant, image present, until it is usable: %.1f s", took.Seconds()))

	before, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(t.Context(), name+"-0", metav1.GetOptions{})
	require.NoError(t, err)
	content, err := os.ReadFile(tenant.Kubeconfig)
	require.NoError(t, err)
	_, err = nestling(t.Context(), w, "create", name, "--ephemeral", "--image", w.ProductImage, "--kubeconfig", tenant.Kubeconfig)
	require.NoError(t, err)
	after, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(t.Context(), name+"-0", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, before.UID, after.UID)
	again, err := os.ReadFile(tenant.Kubeconfig)
	require.NoError(t, err)
	require.Equal(t, string(content), string(again))

	everything := newScan(t, w)
	furnish(t, w, tenant)
	had := everything.of(t, name)
	begin = time.Now()
	_, err = nestling(t.Context(), w, "delete", name)
	require.NoError(t, err)
	took = time.Since(begin)
	// What the host's own controllers let go last: volumes, and what metrics-server knows of pods.
	last := func(object string) bool {
		return strings.HasPrefix(object, "persistentvolumes/") || strings.HasPrefix(object, "pods.metrics.k8s.io/")
	}
	require.Empty(t, slices.DeleteFunc(everything.of(t, name), last), "when delete returns, all is gone")
	everything.waitNone(t, name)
	w.Report(fmt.Sprintf("nestling delete of a tenant with %d objects on the host, until nothing is left: %.1f s", len(had), took.Seconds()))
	_, err = nestling(t.Context(), w, "delete", name)
	require.ErrorContains(t, err, `tenant "made" not found`)
}

// adopted was begun by its manifests, and lost what it needs most.
func adopted(t *testing.T, w *World) {
	const name = "half"
	manifests, err := exec.CommandContext(t.Context(), w.Program, "manifests", name, "-n", w.HostNamespace, "--ephemeral", "--image", w.ProductImage).Output()
	require.NoError(t, err)
	apply := exec.CommandContext(t.Context(), w.Kubectl, "--kubeconfig", w.HostKubeconfig, "apply", "-f", "-")
	apply.Stdin = bytes.NewReader(manifests)
	out, err := apply.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, w.Host.AppsV1().StatefulSets(w.HostNamespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	require.NoError(t, w.Host.RbacV1().RoleBindings(w.HostNamespace).Delete(t.Context(), name, metav1.DeleteOptions{}))

	create(t, w, name, "--ephemeral")
	anchor, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), name+"-anchor", metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, w.Host.CoreV1().ConfigMaps(w.HostNamespace).Delete(t.Context(), anchor.Name, metav1.DeleteOptions{}))
	require.NoError(t, w.Host.RbacV1().ClusterRoleBindings().Delete(t.Context(), "nestling:"+w.HostNamespace+":"+name, metav1.DeleteOptions{}))
	newScan(t, w).waitNone(t, name) // the anchor owns what kubectl has applied, too
}

func expired(t *testing.T, w *World) {
	const name = "brief"
	everything := newScan(t, w)
	tenant := create(t, w, name, "--ephemeral", "--ttl", "30m")
	furnish(t, w, tenant)
	require.NotEmpty(t, everything.of(t, name))

	// A mistake deletes nothing.
	annotate(t, w, name, "nestling.dev/expires-at", "yesterday")
	waitAPI(t, tenant)
	soon := time.Now().Add(3 * time.Second).UTC()
	annotate(t, w, name, "nestling.dev/expires-at", soon.Format(time.RFC3339))
	everything.waitNone(t, name)
	require.False(t, time.Now().Before(soon.Truncate(time.Second)))
	w.Report(fmt.Sprintf("A tenant whose time was over had left nothing %.1f s later", time.Since(soon).Seconds()))
}

func annotate(t *testing.T, w *World, tenant, key, value string) {
	t.Helper()
	maps := w.Host.CoreV1().ConfigMaps(w.HostNamespace)
	eventually(t, "the annotation", func(ctx context.Context) (bool, string) {
		anchor, err := maps.Get(ctx, tenant+"-anchor", metav1.GetOptions{})
		if err != nil {
			return false, errText(err)
		}
		anchor.Annotations[key] = value
		_, err = maps.Update(ctx, anchor, metav1.UpdateOptions{})
		return err == nil, errText(err)
	})
}

// unused has a pod that asks its API all the time, which is no use, and then an open watch, which is one.
func unused(t *testing.T, w *World) {
	const name, limit = "idle", 10 * time.Second
	tenant := create(t, w, name, "--ephemeral", "--idle-ttl", "10m")
	runPod(t, w, tenant, "default", `
metadata: {name: busy}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, 'trap exit TERM; while :; do kubectl get --raw /api/v1/namespaces/default >/dev/null 2>&1; sleep 1; done']
`)
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	watch, err := tenant.Client.CoreV1().ConfigMaps("default").Watch(watching, metav1.ListOptions{})
	require.NoError(t, err)
	annotate(t, w, name, "nestling.dev/idle-ttl", limit.String())
	began := time.Now()
	anchors := w.Host.CoreV1().ConfigMaps(w.HostNamespace)
	eventually(t, "more than the limit of a watch", func(ctx context.Context) (bool, string) {
		_, err := anchors.Get(ctx, name+"-anchor", metav1.GetOptions{})
		require.NoError(t, err, "a tenant that is watched is in use")
		return time.Since(began) > limit+limit/2, ""
	})
	watch.Stop()
	stop()
	ended := time.Now()
	eventually(t, "the end of the anchor", func(ctx context.Context) (bool, string) {
		_, err := anchors.Get(ctx, name+"-anchor", metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	require.Greater(t, time.Since(ended), limit-time.Second)
	newScan(t, w).waitNone(t, name)
}

func paused(t *testing.T, w *World) {
	const name = "rested"
	tenant := create(t, w, name)
	pod := furnish(t, w, tenant)
	shell(t, tenant, pod, "", "echo kept > /data/file")
	_, err := tenant.Client.AppsV1().Deployments("furnished").Create(t.Context(), decode[appsv1.Deployment](t, w, `
metadata: {name: web}
spec:
  selector: {matchLabels: {app: deployed}}
  template:
    metadata: {labels: {app: deployed}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: IDLE}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	available := func() {
		eventually(t, "the Deployment", func(ctx context.Context) (bool, string) {
			deployment, err := tenant.Client.AppsV1().Deployments("furnished").Get(ctx, "web", metav1.GetOptions{})
			return err == nil && deployment.Status.AvailableReplicas == 1, errText(err)
		})
	}
	available()
	_, err = nestling(t.Context(), w, "pause", name)
	require.NoError(t, err)
	for _, label := range []string{"nestling.dev/tenant", "nestling.dev/control-plane"} {
		pods, err := w.Host.CoreV1().Pods(w.HostNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: label + "=" + name})
		require.NoError(t, err)
		require.Empty(t, pods.Items)
	}
	out, err := nestling(t.Context(), w, "list", name)
	require.NoError(t, err)
	require.Contains(t, out, "Paused")
	_, err = nestling(t.Context(), w, "resume", name)
	require.NoError(t, err)
	waitAPI(t, tenant) // kube-proxy has to learn of the new pod
	eventually(t, "the end of the pod that nobody controls", func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().Pods("furnished").Get(ctx, pod.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	available()
	again := runPod(t, w, tenant, "furnished", compliant)
	require.Equal(t, "kept", shell(t, tenant, again, "", "cat /data/file"))

	_, err = nestling(t.Context(), w, "pause", name, "--keep-pods")
	require.NoError(t, err)
	_, err = nestling(t.Context(), w, "resume", name)
	require.NoError(t, err)
	waitAPI(t, tenant)
	same, err := tenant.Client.CoreV1().Pods("furnished").Get(t.Context(), again.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, again.UID, same.UID)
	require.True(t, isReady(same))
}

func restored(t *testing.T, w *World) {
	const name = "stored"
	tenant := create(t, w, name)
	pod := furnish(t, w, tenant)
	shell(t, tenant, pod, "", "echo kept > /data/file")
	_, err := nestling(t.Context(), w, "delete", name, "--keep-volumes")
	require.NoError(t, err)
	_, err = w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), name+"-anchor", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), errText(err))

	tenant = create(t, w, name)
	_, err = tenant.Client.CoreV1().ConfigMaps("furnished").Get(t.Context(), "settings", metav1.GetOptions{})
	require.NoError(t, err)
	eventually(t, "the end of the old pod", func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().Pods("furnished").Get(ctx, pod.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	again := runPod(t, w, tenant, "furnished", compliant)
	require.Equal(t, "kept", shell(t, tenant, again, "", "cat /data/file"))
	_, err = nestling(t.Context(), w, "delete", name)
	require.NoError(t, err)
	newScan(t, w).waitNone(t, name)
}

package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func installation() []Story {
	return []Story{
		{Name: "kubectl apply -k, helm install and nestling create of the same values give the same tenant, and upgrades leave its pods alone", Real: true, Run: installed},
	}
}

// way is one of those in which people install a tenant.
type way struct {
	name string // of the tenant
	// install makes or upgrades it, and uninstall removes it.
	install, uninstall func(ctx context.Context, values string) error
}

// platform is an operator of the host with its tools.
type platform struct {
	w         *World
	dir       string
	apiServer string // as JSON of networkPolicy.hostAPIServers
}

func installed(t *testing.T, w *World) {
	if w.Application == nil || w.Kubectl == "" || w.Program == "" {
		t.Skip("this world lacks helm, kubectl or the program")
	}
	dir, err := os.MkdirTemp("", "nestling-ways-") // no TempDir: it bears the story's name, and Helm takes a comma for the end of a file's
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	p := &platform{w: w, dir: dir, apiServer: hostAPIServers(t, w)}
	var made []string
	objects := map[string]string{}
	for _, way := range p.ways() {
		objects[way.name] = p.life(t, way)
		made = append(made, way.name)
	}
	for _, name := range made[1:] {
		require.Empty(t, cmp.Diff(objects[made[0]], objects[name]), "-%s +%s", made[0], name)
	}
}

func (p *platform) ways() []way {
	chart := func(ctx context.Context, command, name string, args ...string) error {
		return p.run(ctx, p.w.Application.Helm, append([]string{command, name, "--namespace", p.w.HostNamespace, "--kubeconfig", p.w.HostKubeconfig}, args...)...)
	}
	host := []string{"--kubeconfig", p.w.HostKubeconfig}
	ours := []string{"--namespace", p.w.HostNamespace, "--host-kubeconfig", p.w.HostKubeconfig}
	base := filepath.Join(p.dir, "base")
	return []way{
		{
			name: "by-kustomize",
			install: func(ctx context.Context, values string) error {
				out, err := exec.CommandContext(ctx, p.w.Program, "manifests", "by-kustomize", "-n", p.w.HostNamespace, "-f", values).Output()
				if err == nil {
					err = os.MkdirAll(base, 0o755)
				}
				for name, content := range map[string]string{"nestling.yaml": string(out), "kustomization.yaml": "resources: [nestling.yaml]\n"} {
					if err == nil {
						err = os.WriteFile(filepath.Join(base, name), []byte(content), 0o600)
					}
				}
				if err != nil {
					return err
				}
				return p.run(ctx, p.w.Kubectl, append(host, "apply", "-k", base)...)
			},
			uninstall: func(ctx context.Context, _ string) error {
				return p.run(ctx, p.w.Kubectl, append(host, "delete", "--ignore-not-found", "-k", base)...)
			},
		},
		{
			name: "by-helm",
			install: func(ctx context.Context, values string) error {
				return chart(ctx, "upgrade", "by-helm", p.w.Chart, "--install", "--values", values)
			},
			uninstall: func(ctx context.Context, _ string) error {
				return chart(ctx, "uninstall", "by-helm", "--ignore-not-found")
			},
		},
		{
			name: "by-create",
			install: func(ctx context.Context, values string) error {
				return p.run(ctx, p.w.Program, append([]string{"create", "by-create", "-f", values, "--kubeconfig", filepath.Join(p.dir, "by-create")}, ours...)...)
			},
			uninstall: func(ctx context.Context, _ string) error {
				return p.run(ctx, p.w.Program, append([]string{"delete", "by-create", "--ignore-not-found"}, ours...)...)
			},
		},
	}
}

// run is a program of the operator's; what it said is in the error.
func (p *platform) run(ctx context.Context, program string, args ...string) error {
	command := exec.CommandContext(ctx, program, args...)
	command.Env = os.Environ()
	for _, kind := range []string{"CACHE", "CONFIG", "DATA"} {
		command.Env = append(command.Env, "HELM_"+kind+"_HOME="+filepath.Join(p.dir, strings.ToLower(kind)))
	}
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return nil
}

// values are a file of them.
func (p *platform) values(t *testing.T, name, image string, gogc int) string {
	t.Helper()
	path := filepath.Join(p.dir, name+".yaml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
image: %s
storage: {size: 1Gi}
podDisruptionBudget: {enabled: true}
networkPolicy: {enabled: true, hostAPIServers: %s}
config: {runtime: {gogc: %d}}
`, image, p.apiServer, gogc), 0o600))
	return path
}

// life installs a tenant, changes its configuration and then its image, and removes it. It returns what the host had of
// it at first, without what tells tenants and ways apart.
func (p *platform) life(t *testing.T, way way) string {
	t.Helper()
	w := p.w
	values := p.values(t, way.name, w.ProductImage, 40)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, way.uninstall(ctx, values))
	})
	require.NoError(t, way.install(t.Context(), values))
	tenant := p.connect(t, way.name)
	objects := p.objects(t, way.name)
	space := namespace(t, tenant, "stays")
	pod := runPod(t, w, tenant, space, `
metadata: {name: web}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080]}]}
`)
	p.fence(t, tenant, space, pod.Status.PodIP)

	before := p.lasting(t, way.name)
	for _, change := range []string{"another setting", "another image"} {
		image := map[string]string{"another setting": w.ProductImage, "another image": w.ProductImageUpgrade}[change]
		values := p.values(t, way.name+"-changed", image, 60)
		old, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(t.Context(), way.name+"-0", metav1.GetOptions{})
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, way.install(t.Context(), values))
		eventually(t, "the control plane with "+change, func(ctx context.Context) (bool, string) {
			now, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(ctx, way.name+"-0", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return now.UID != old.UID && isReady(now), asJSON(now.Status)
		})
		within(w, fmt.Sprintf("From the upgrade of tenant %s (%s) to a control plane that is ready", way.name, change), begin)
		require.Equal(t, before, p.lasting(t, way.name), "after %s", change)
		var after *corev1.Pod
		eventually(t, "the tenant's API at its address, which kube-proxy has to learn anew", func(ctx context.Context) (bool, string) {
			var err error
			after, err = tenant.Client.CoreV1().Pods(space).Get(ctx, pod.Name, metav1.GetOptions{})
			return err == nil || apierrors.IsNotFound(err), errText(err)
		})
		require.Equal(t, pod.UID, after.UID, "the tenant still has it")
	}
	return objects
}

// connect waits for a tenant that takes pods.
func (p *platform) connect(t *testing.T, name string) *Tenant {
	t.Helper()
	w := p.w
	tenant := &Tenant{Name: name, Kubeconfig: filepath.Join(p.dir, name+".kubeconfig")}
	eventually(t, "tenant "+name, func(ctx context.Context) (bool, string) {
		secret, err := w.Host.CoreV1().Secrets(w.HostNamespace).Get(ctx, name+"-kubeconfig", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		service, err := w.Host.CoreV1().Services(w.HostNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		file, err := clientcmd.Load(secret.Data["config"])
		if err != nil {
			return false, err.Error()
		}
		for _, cluster := range file.Clusters {
			cluster.Server = "https://" + service.Spec.ClusterIP + ":443"
		}
		if err := clientcmd.WriteToFile(*file, tenant.Kubeconfig); err != nil {
			return false, err.Error()
		}
		if tenant.Config, err = clientcmd.NewDefaultClientConfig(*file, nil).ClientConfig(); err == nil {
			tenant.Config.QPS = -1
			tenant.Client, err = kubernetes.NewForConfig(tenant.Config)
		}
		if err == nil {
			_, err = tenant.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		}
		return err == nil, errText(err)
	})
	return tenant
}

// fence: whom a tenant's administrator can make the tenant's API server dial, by a webhook. The tenant's own pods it must
// reach.
func (p *platform) fence(t *testing.T, tenant *Tenant, space, own string) {
	t.Helper()
	const reached = "server gave HTTP response to HTTPS client"
	eventually(t, "the tenant's own pod to be reached", func(context.Context) (bool, string) {
		said := p.dial(t, tenant, space, own) // a pod that is ready may not listen yet
		return strings.Contains(said, reached), said
	})
	if !p.w.Enforces {
		return
	}
	stranger := runPod(t, p.w, p.w.B, namespace(t, p.w.B, "beyond"), `
metadata: {name: stranger}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080]}]}
`)
	require.NotContains(t, p.dial(t, tenant, space, stranger.Status.PodIP), reached)
}

// dial has the tenant's API server call a webhook at an address, for a ConfigMap that comes of it or not, and returns
// what it says.
func (p *platform) dial(t *testing.T, tenant *Tenant, space, address string) (said string) {
	t.Helper()
	hooks := tenant.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := hooks.Create(t.Context(), decode[admissionregistrationv1.ValidatingWebhookConfiguration](t, p.w, fmt.Sprintf(`
metadata: {name: dialler}
webhooks:
- name: dialler.example.org
  clientConfig: {url: "https://%s:8080/"}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}
  admissionReviewVersions: [v1]
  sideEffects: None
  timeoutSeconds: 3
`, address, space)), metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the webhook to be called", func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().ConfigMaps(space).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bait"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		said = errText(err)
		return err != nil && strings.Contains(said, "dialler.example.org"), said
	})
	require.NoError(t, hooks.Delete(t.Context(), "dialler", metav1.DeleteOptions{}))
	eventually(t, "the webhook to be forgotten", func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().ConfigMaps(space).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bait"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil, errText(err)
	})
	return said
}

// lasting is what no upgrade may touch: the anchor, the addresses, and the host pods of the tenant.
func (p *platform) lasting(t *testing.T, name string) []string {
	t.Helper()
	w := p.w
	anchor, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), name+"-anchor", metav1.GetOptions{})
	require.NoError(t, err)
	out := []string{"anchor " + string(anchor.UID)}
	for _, service := range []string{name, name + "-dns"} {
		service, err := w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), service, metav1.GetOptions{})
		require.NoError(t, err)
		out = append(out, service.Name+" "+service.Spec.ClusterIP)
	}
	pods, err := w.Host.CoreV1().Pods(w.HostNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "nestling.dev/tenant=" + name})
	require.NoError(t, err)
	require.NotEmpty(t, pods.Items)
	for _, pod := range pods.Items {
		out = append(out, fmt.Sprintf("%s %s of generation %d, restarted %d times", pod.Name, pod.UID, pod.Generation, pod.Status.ContainerStatuses[0].RestartCount))
	}
	return out
}

// objects are those of the control plane, as the host has them.
func (p *platform) objects(t *testing.T, name string) string {
	t.Helper()
	w := p.w
	out, err := exec.CommandContext(t.Context(), w.Kubectl, "--kubeconfig", w.HostKubeconfig, "--namespace", w.HostNamespace, "get", "-o", "json",
		"--selector", "nestling.dev/control-plane="+name,
		"serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,configmaps,services,statefulsets,poddisruptionbudgets,networkpolicies").Output()
	require.NoError(t, err)
	var list struct{ Items []map[string]any }
	require.NoError(t, json.Unmarshal(out, &list))
	require.Len(t, list.Items, 14)
	for _, object := range list.Items {
		delete(object, "status")
		metadata := object["metadata"].(map[string]any)
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences"} {
			delete(metadata, field)
		}
		delete(metadata["labels"].(map[string]any), "app.kubernetes.io/managed-by")
		annotations, _ := metadata["annotations"].(map[string]any)
		for _, key := range []string{"kubectl.kubernetes.io/last-applied-configuration", "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"} {
			delete(annotations, key)
		}
		if len(annotations) == 0 {
			delete(metadata, "annotations")
		}
		if spec, ok := object["spec"].(map[string]any); ok && object["kind"] == "Service" {
			delete(spec, "clusterIP")
			delete(spec, "clusterIPs")
		}
	}
	text, err := json.MarshalIndent(list.Items, "", " ")
	require.NoError(t, err)
	// The file has the tenant's name in it, and so has its hash.
	return regexp.MustCompile(`"nestling.dev/config-hash": "[0-9a-f]{16}"`).ReplaceAllString(strings.ReplaceAll(string(text), name, "NAME"), "HASH")
}

// hostAPIServers are where the host's API server really is.
func hostAPIServers(t *testing.T, w *World) string {
	t.Helper()
	slices, err := w.Host.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	require.NoError(t, err)
	var out []map[string]any
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			out = append(out, map[string]any{"cidr": endpoint.Addresses[0] + "/32", "port": *slice.Ports[0].Port})
		}
	}
	require.NotEmpty(t, out)
	text, err := json.Marshal(out)
	require.NoError(t, err)
	return string(text)
}

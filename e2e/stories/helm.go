package stories

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/e2e/addon/cloud"
	"nestling.dev/nestling/e2e/application"
)

// applications are what people run clusters for.
func applications() []Story {
	return []Story{
		{Name: "a chart of a clustered database installs, upgrades, rolls back and uninstalls with stock Helm", Run: chart},
	}
}

// release is a chart that is installed.
type release struct {
	w      *World
	tenant *Tenant
	space  string
	name   string
	home   string // of helm
	values []byte
}

// helm is helm as the tenant's user runs it.
func (r *release) helm(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), r.w.Application.Helm, append(args, "--namespace", r.space, "--kubeconfig", r.tenant.Kubeconfig)...)
	command.Env = os.Environ()
	for _, kind := range []string{"CACHE", "CONFIG", "DATA"} {
		command.Env = append(command.Env, "HELM_"+kind+"_HOME="+filepath.Join(r.home, strings.ToLower(kind)))
	}
	command.Stdin = bytes.NewReader(r.values) // where --values - says so
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	err := command.Run()
	require.NoError(t, err, "helm %s: %s%s\n%s", args[0], out.String(), said.String(), r.state(t))
	return out.String()
}

// state is what there is of the release, for a failure's sake.
func (r *release) state(t *testing.T) string {
	t.Helper()
	pods, err := r.tenant.Client.CoreV1().Pods(r.space).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for i := range pods.Items {
		fmt.Fprintf(&out, "%s: %s%s\n", pods.Items[i].Name, asJSON(pods.Items[i].Status), lastEvents(t.Context(), r.tenant, &pods.Items[i]))
	}
	return out.String()
}

// waiting are the flags of commands that take values.
func (r *release) waiting(more ...string) []string {
	return append([]string{"--wait", "--timeout", (2 * patience).String(), "--values", "-"}, more...)
}

// box runs the application's client in the worker, which may talk to the servers.
func (r *release) box(ctx context.Context, command string) (string, error) {
	workers, err := r.tenant.Client.CoreV1().Pods(r.space).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=worker"})
	if err != nil {
		return "", err
	}
	for i := range workers.Items {
		if isReady(&workers.Items[i]) {
			return tryExec(ctx, r.tenant, &workers.Items[i], "", append([]string{"/natsbox"}, strings.Fields(command)...)...)
		}
	}
	return "", fmt.Errorf("no worker is ready")
}

func (r *release) mustBox(t *testing.T, command string) string {
	t.Helper()
	out, err := r.box(t.Context(), command)
	require.NoError(t, err, "natsbox %s: %s", command, out)
	return out
}

// chart is watch point 1: StatefulSet, headless Service, claims, ConfigMap, Secrets, budget,
// network policy, Ingress with TLS, hooks and an autoscaler, all from one chart.
func chart(t *testing.T, w *World) {
	if w.Application == nil {
		t.Skip("this world has no helm")
	}
	space := namespace(t, w.A, "chart")
	host := space + ".example.org"
	certificate, key := keyPair(t, host)
	values, err := json.Marshal(map[string]any{"ingress": map[string]any{
		"host": host, "className": cloud.Class, "tls": map[string]any{"certificate": string(certificate), "key": string(key)},
	}})
	require.NoError(t, err)
	r := &release{w: w, tenant: w.A, space: space, name: "mq", home: t.TempDir(), values: values}

	begin := time.Now()
	r.helm(t, append([]string{"install", r.name, w.Application.Chart}, r.waiting()...)...)
	within(w, "From helm install of a chart with a StatefulSet of 3, claims and hooks to the end of its --wait", begin)
	password := r.password(t)
	r.requireServers(t, application.ServerImage)
	r.requireAutoscaler(t)
	r.requireClustered(t)
	want := r.publish(t, 20, "a-")
	client := visitor(w, certificate)
	eventually(t, "the monitor through the Ingress", func(ctx context.Context) (bool, string) {
		answer, err := fetch(ctx, client, "https://"+host+"/healthz")
		if !w.Real { // the certificate is served, and nobody behind it
			return err == nil || strings.HasPrefix(err.Error(), "5"), answer + errText(err)
		}
		return strings.Contains(answer, `"ok"`), answer + errText(err)
	})

	r.requirePolicy(t)

	// A rolling upgrade, while somebody publishes.
	published := make(chan error, 1)
	go func() {
		if w.Real {
			_, err := r.box(t.Context(), "publish orders 100 b-")
			published <- err
			return
		}
		published <- nil
	}()
	r.helm(t, append([]string{"upgrade", r.name, w.Application.Chart}, r.waiting("--set", "image="+application.ServerImageUpgrade, "--set", "config.maxPayload=2097152")...)...)
	require.NoError(t, <-published)
	want = append(want, numbered("b-", 100)...)
	r.requireServers(t, application.ServerImageUpgrade)
	r.requireClustered(t)
	require.Equal(t, password, r.password(t), "looked up in the cluster, and kept")
	r.requireMessages(t, want)

	r.helm(t, "rollback", r.name, "1", "--wait", "--timeout", (2 * patience).String())
	r.requireServers(t, application.ServerImage)
	r.requireMessages(t, want)
	if w.Real { // a simulated pod would not end
		r.helm(t, "test", r.name, "--timeout", (2 * patience).String())
		r.requireMessages(t, append(want, "test-1-1")) // a rollback has the manifests of then
	}
	require.Regexp(t, `(?s)1.*superseded.*2.*superseded.*3.*deployed.*Rollback to 1`, r.helm(t, "history", r.name))

	r.helm(t, "uninstall", r.name, "--wait", "--timeout", (2 * patience).String())
	r.requireLeft(t, "PersistentVolumeClaim", "PersistentVolumeClaim", "PersistentVolumeClaim")
	require.NoError(t, w.A.Client.CoreV1().Namespaces().Delete(t.Context(), space, metav1.DeleteOptions{}))
	eventually(t, "the namespace to go", func(ctx context.Context) (bool, string) {
		found, err := w.A.Client.CoreV1().Namespaces().Get(ctx, space, metav1.GetOptions{})
		return apierrors.IsNotFound(err), asJSON(found.Status)
	})
	r.requireLeft(t)
}

func (r *release) password(t *testing.T) string {
	t.Helper()
	secret, err := r.tenant.Client.CoreV1().Secrets(r.space).Get(t.Context(), r.name+"-auth", metav1.GetOptions{})
	require.NoError(t, err)
	require.Len(t, secret.Data["password"], 24)
	return string(secret.Data["password"])
}

// requireServers wants all that helm has waited for, in fact.
func (r *release) requireServers(t *testing.T, image string) {
	t.Helper()
	eventually(t, "three servers of "+image, func(ctx context.Context) (bool, string) { // one that was ready may miss a probe
		set, err := r.tenant.Client.AppsV1().StatefulSets(r.space).Get(ctx, r.name, metav1.GetOptions{})
		return err == nil && set.Status.ReadyReplicas == 3 && set.Status.UpdatedReplicas == 3, asJSON(set) + errText(err)
	})
	for i := range 3 {
		pod := waitPod(t, r.tenant, r.space, fmt.Sprintf("%s-%d", r.name, i), "is ready", isReady)
		require.Equal(t, image, pod.Spec.Containers[0].Image)
		host := hostPodOf(t, r.w, r.tenant, pod)
		require.Equal(t, image, host.Spec.Containers[0].Image)
	}
	eventually(t, "the budget to count the servers", func(ctx context.Context) (bool, string) { // helm does not wait for it
		budget, err := r.tenant.Client.PolicyV1().PodDisruptionBudgets(r.space).Get(ctx, r.name, metav1.GetOptions{})
		return err == nil && budget.Status.ExpectedPods == 3, asJSON(budget) + errText(err)
	})
}

func (r *release) requireAutoscaler(t *testing.T) {
	t.Helper()
	eventually(t, "the autoscaler to know the workers' use", func(ctx context.Context) (bool, string) {
		scaler, err := r.tenant.Client.AutoscalingV2().HorizontalPodAutoscalers(r.space).Get(ctx, r.name+"-workers", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, condition := range scaler.Status.Conditions {
			if condition.Type == autoscalingv2.ScalingActive && condition.Status == corev1.ConditionTrue {
				return true, ""
			}
		}
		return false, asJSON(scaler.Status)
	})
}

// requireClustered wants the stream to have its three replicas, which found each other by
// the names of the headless Service.
func (r *release) requireClustered(t *testing.T) {
	t.Helper()
	if !r.w.Real {
		return
	}
	eventually(t, "a leader and two replicas that follow", func(ctx context.Context) (bool, string) {
		out, err := r.box(ctx, "info orders")
		if err != nil {
			return false, out + err.Error()
		}
		var info struct {
			Cluster struct {
				Leader   string `json:"leader"`
				Replicas []struct {
					Current bool `json:"current"`
					Offline bool `json:"offline"`
				} `json:"replicas"`
			} `json:"cluster"`
		}
		if err := json.Unmarshal([]byte(out), &info); err != nil {
			return false, out
		}
		current := 0
		for _, replica := range info.Cluster.Replicas {
			if replica.Current && !replica.Offline {
				current++
			}
		}
		return info.Cluster.Leader != "" && current == 2, out
	})
}

// requirePolicy wants the servers to be in reach of those pods that the chart's network
// policy means, and of no others.
func (r *release) requirePolicy(t *testing.T) {
	t.Helper()
	if !r.w.Enforces {
		return
	}
	for name, labels := range map[string]string{"guest": `{nats-client: "true"}`, "stranger": "{}"} {
		pod := runPod(t, r.w, r.tenant, r.space, "{metadata: {name: "+name+", labels: "+labels+"}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE}]}}")
		eventually(t, "what the policy says about the "+name, func(ctx context.Context) (bool, string) {
			out, err := tryShell(ctx, r.tenant, pod, "", "agnhost connect --timeout=2s "+r.name+":4222")
			return (err == nil) == (name == "guest"), out + errText(err)
		})
		require.NoError(t, r.tenant.Client.CoreV1().Pods(r.space).Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
}

func numbered(prefix string, count int) []string {
	var out []string
	for i := 1; i <= count; i++ {
		out = append(out, fmt.Sprintf("%s%d", prefix, i))
	}
	return out
}

// publish stores messages, and is what they say.
func (r *release) publish(t *testing.T, count int, prefix string) []string {
	t.Helper()
	if !r.w.Real {
		return nil
	}
	r.mustBox(t, fmt.Sprintf("publish orders %d %s", count, prefix))
	return numbered(prefix, count)
}

func (r *release) requireMessages(t *testing.T, want []string) {
	t.Helper()
	if r.w.Real {
		require.Equal(t, want, strings.Fields(r.mustBox(t, "read orders")))
	}
}

// requireLeft wants no more than some objects of these kinds to be there of the release: in
// the tenant, and of the namespace on the host.
func (r *release) requireLeft(t *testing.T, kinds ...string) {
	t.Helper()
	virtual := []schema.GroupVersionResource{
		{Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "services"}, {Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"},
		{Version: "v1", Resource: "persistentvolumeclaims"}, {Version: "v1", Resource: "serviceaccounts"}, {Version: "v1", Resource: "endpoints"},
		{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, {Group: "batch", Version: "v1", Resource: "jobs"},
		{Group: "apps", Version: "v1", Resource: "statefulsets"}, {Group: "apps", Version: "v1", Resource: "deployments"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}, {Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}, {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	}
	own := func(object unstructured.Unstructured) bool {
		name := object.GetName() // what every namespace has
		return name != "kube-root-ca.crt" && !(object.GetKind() == "ServiceAccount" && name == "default")
	}
	left := func(ctx context.Context, config *rest.Config, namespace, selector string) (out []string) {
		client, err := dynamic.NewForConfig(config)
		require.NoError(t, err)
		for _, resource := range virtual {
			list, err := client.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
			if err != nil {
				return []string{err.Error()}
			}
			for _, object := range list.Items {
				if own(object) {
					out = append(out, object.GetKind()+" "+object.GetName())
				}
			}
		}
		return out
	}
	are := func(objects []string) bool {
		var found []string
		for _, object := range objects {
			kind, _, _ := strings.Cut(object, " ")
			found = append(found, kind)
		}
		return strings.Join(found, ",") == strings.Join(kinds, ",")
	}
	eventually(t, "nothing else to be left", func(ctx context.Context) (bool, string) {
		virtual := left(ctx, r.tenant.Config, r.space, "")
		host := left(ctx, r.w.HostConfig, r.w.HostNamespace, "nestling.dev/tenant="+r.tenant.Name+",nestling.dev/namespace="+r.space)
		return are(virtual) && are(host), "in the tenant: " + strings.Join(virtual, ", ") + "; on the host: " + strings.Join(host, ", ")
	})
}

package stories

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"nestling.dev/nestling/e2e/operators"
	"nestling.dev/nestling/pkg/pki"
)

func operatorStories() []Story {
	return []Story{
		{Name: "a tenant serves what its host serves", Run: parity},
		{Name: "a tenant signs a certificate that its administrator approves", Run: signing},
		{Name: "operators run in a tenant unchanged", Real: true, Run: unchangedOperators},
	}
}

// operatorsTenant is the tenant of the operators, who install CRDs and take an API away.
const operatorsTenant = "team-ops"

func unchangedOperators(t *testing.T, w *World) {
	tenant, err := w.Install(t.Context(), operatorsTenant)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.Uninstall(ctx, operatorsTenant); err != nil {
			t.Errorf("uninstall %s: %v", operatorsTenant, err)
		}
	})
	t.Cleanup(func() { lastWords(t, tenant) })
	t.Run("side by side", func(t *testing.T) {
		for name, run := range map[string]func(t *testing.T, w *World, tenant *Tenant){
			"admission webhooks decide from the moment their pod is ready": admissionWebhooks,
			"a conversion webhook serves an old version":                   conversionWebhook,
			"cert-manager issues certificates, and Cluster API uses them":  certificates,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, w, tenant)
			})
		}
	})
	// It takes its API away, and while it is away namespaces cannot go.
	t.Run("an aggregated API server comes, goes and comes back", func(t *testing.T) { aggregatedAPI(t, w, tenant) })
}

// apply is kubectl's, on the server: CRDs are too large for annotations.
func apply(t *testing.T, w *World, tenant *Tenant, namespace, manifests string) {
	t.Helper()
	kubectlInput(t, w, tenant, namespace, manifests, "apply", "--server-side", "-f", "-")
}

// dynamicOf is a client for kinds that have no Go types here.
func dynamicOf(t *testing.T, tenant *Tenant, group, version, resource, namespace string) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(tenant.Config)
	require.NoError(t, err)
	resources := client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
	if namespace == "" {
		return resources
	}
	return resources.Namespace(namespace)
}

// troubles are a namespace's warnings and its containers that wait, for a failure's sake.
func troubles(ctx context.Context, tenant *Tenant, namespace string) string {
	var out strings.Builder
	if events, err := tenant.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning"}); err == nil {
		for _, event := range events.Items {
			fmt.Fprintf(&out, "\n%s %s: %s", event.InvolvedObject.Name, event.Reason, event.Message)
		}
	}
	if pods, err := tenant.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{}); err == nil {
		for _, pod := range pods.Items {
			for _, status := range pod.Status.ContainerStatuses {
				if !status.Ready {
					fmt.Fprintf(&out, "\n%s/%s: %s, before: %s", pod.Name, status.Name, asJSON(status.State), asJSON(status.LastTerminationState))
				}
			}
		}
	}
	return out.String()
}

// lastWords of the operators are in the log of a failure.
func lastWords(t *testing.T, tenant *Tenant) {
	if !t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, namespace := range []string{operators.CertManagerNamespace, operators.ClusterAPINamespace, operators.SampleAPIServerNamespace} {
		pods, err := tenant.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Logf("pods of %s: %v", namespace, err)
			continue
		}
		for _, pod := range pods.Items {
			for _, container := range pod.Spec.Containers {
				said, err := tenant.Client.CoreV1().Pods(namespace).GetLogs(pod.Name,
					&corev1.PodLogOptions{Container: container.Name, TailLines: new(int64(20))}).DoRaw(ctx)
				t.Logf("%s/%s/%s: %s %v", namespace, pod.Name, container.Name, said, err)
			}
		}
	}
}

// scale sets the replicas of a deployment.
func scale(t *testing.T, tenant *Tenant, namespace, name string, replicas int32) {
	t.Helper()
	_, err := tenant.Client.AppsV1().Deployments(namespace).UpdateScale(t.Context(), name, &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas},
	}, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// lag repeats an attempt from before a pod of the selector is ready until it succeeds, and
// returns how long after the pod was ready that was.
func lag(t *testing.T, tenant *Tenant, namespace, selector string, attempt func(ctx context.Context) error) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := tenant.Client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{LabelSelector: selector})
	require.NoError(t, err)
	defer watch.Stop()
	ready := make(chan time.Time, 1)
	go func() {
		for event := range watch.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && pod.DeletionTimestamp == nil && isReady(pod) {
				ready <- time.Now()
				return
			}
		}
	}()
	for {
		err := attempt(ctx)
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no attempt has succeeded: %v%s", err, troubles(t.Context(), tenant, namespace))
		case <-time.After(5 * time.Millisecond):
		}
	}
	served := time.Now()
	select {
	case at := <-ready:
		return max(served.Sub(at), 0)
	case <-ctx.Done():
		t.Fatalf("pods %s of %s are not ready, and yet somebody answers", selector, namespace)
		return 0
	}
}

// guard is a server of upstream's test image with a certificate for its Service. There are
// no replicas yet.
type guard struct {
	namespace, name string
	ca              []byte
}

func newGuard(t *testing.T, w *World, tenant *Tenant, namespace, name, command string) guard {
	t.Helper()
	authority, err := pki.New(time.Now())
	require.NoError(t, err)
	certificate, key, err := authority.Issue(pki.Leaf{CommonName: name, Server: true, DNSNames: []string{name + "." + namespace + ".svc"}})
	require.NoError(t, err)
	_, err = tenant.Client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	apply(t, w, tenant, namespace, strings.NewReplacer("NAME", name, "COMMAND", command, "AGNHOST", agnhostImage, "PROBE", probe).Replace(`
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{name: https, port: 443, targetPort: tls}, {name: other, port: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 0
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: AGNHOST
        args: [COMMAND, --tls-cert-file=/certificate/tls.crt, --tls-private-key-file=/certificate/tls.key, --port=8443]
        ports: [{name: tls, containerPort: 8443}]
        readinessProbe: {httpGet: {scheme: HTTPS, path: /readyz, port: tls}, PROBE}
        volumeMounts: [{name: certificate, mountPath: /certificate}]
      volumes: [{name: certificate, secret: {secretName: NAME}}]
`))
	return guard{namespace: namespace, name: name, ca: authority.CAPEM()}
}

// clientConfig is how a webhook names the server.
func (g guard) clientConfig(path string) string {
	return fmt.Sprintf("{caBundle: %s, service: {namespace: %s, name: %s, path: %s, port: 443}}", base64Of(g.ca), g.namespace, g.name, path)
}

// stop takes the server away, and waits until an attempt tells.
func (g guard) stop(t *testing.T, tenant *Tenant, attempt func(ctx context.Context) error) {
	t.Helper()
	scale(t, tenant, g.namespace, g.name, 0)
	eventually(t, "server "+g.name+" to be missed", func(ctx context.Context) (bool, string) {
		err := attempt(ctx)
		return err != nil && strings.Contains(err.Error(), g.missing()), errText(err)
	})
}

// missing is what the API server says of a Service without pods.
func (g guard) missing() string { return fmt.Sprintf("no endpoints available for service %q", g.name) }

// webhookTimeout is how long the API server waits for a webhook: what takes less was no time-out.
const webhookTimeout = 10 * time.Second

// requireMissing wants a clear error, and no time-out, as soon as the API server knows of
// the Service.
func (g guard) requireMissing(t *testing.T, attempt func(ctx context.Context) error) {
	t.Helper()
	var err error
	var took time.Duration
	eventually(t, "the word that "+g.name+" is missing", func(ctx context.Context) (bool, string) {
		begin := time.Now()
		err = attempt(ctx)
		took = time.Since(begin)
		return err != nil && strings.Contains(err.Error(), g.missing()), errText(err)
	})
	var status apierrors.APIStatus
	require.ErrorAs(t, err, &status)
	require.EqualValues(t, http.StatusInternalServerError, status.Status().Code)
	require.Less(t, took, webhookTimeout)
}

package stories

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// admissionWebhooks lets upstream's test server deny and change what is made in one
// namespace.
func admissionWebhooks(t *testing.T, w *World, tenant *Tenant) {
	space, guarded := namespace(t, tenant, "guards"), namespace(t, tenant, "guarded")
	server := newGuard(t, w, tenant, space, "guard", "webhook")
	webhook := func(kind, path, resource, operations string) string {
		return fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: %[1]sWebhookConfiguration
metadata: {name: %[2]s-%[3]s}
webhooks:
- name: %[3]s.stories.example.com
  clientConfig: %[4]s
  rules: [{apiGroups: [""], apiVersions: [v1], resources: [%[3]s], operations: [%[5]s]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[6]s}}
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 10
`, kind, strings.ToLower(kind), resource, server.clientConfig(path), operations, guarded)
	}
	apply(t, w, tenant, "", strings.Join([]string{
		webhook("Validating", "/configmaps", "configmaps", "CREATE, UPDATE, DELETE"),
		webhook("Mutating", "/mutating-configmaps", "configmaps", "CREATE"),
		webhook("Mutating", "/add-label", "pods", "CREATE"),
	}, "---"))
	t.Cleanup(func() { // or the namespace could not be emptied
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = tenant.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, "validating-configmaps", metav1.DeleteOptions{})
	})

	create := func(ctx context.Context, data map[string]string, dryRun ...string) (*corev1.ConfigMap, error) {
		return tenant.Client.CoreV1().ConfigMaps(guarded).Create(ctx,
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "guarded-"}, Data: data}, metav1.CreateOptions{DryRun: dryRun})
	}
	attempt := func(ctx context.Context) error {
		_, err := create(ctx, nil, metav1.DryRunAll)
		return err
	}
	// The API server hears of the configurations a moment later.
	eventually(t, "the webhooks to be called", func(ctx context.Context) (bool, string) {
		err := attempt(ctx)
		return err != nil, errText(err)
	})
	server.requireMissing(t, attempt)
	scale(t, tenant, space, server.name, 1)
	took := lag(t, tenant, space, "app="+server.name, attempt)
	w.Report(fmt.Sprintf("From the readiness of an admission webhook's pod to the first request that it admits: %d ms", took.Milliseconds()))

	_, err := create(t.Context(), map[string]string{"webhook-e2e-test": "webhook-disallow"})
	require.ErrorContains(t, err, "the configmap contains unwanted key and value")
	changed, err := create(t.Context(), map[string]string{"mutation-start": "yes"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"mutation-start": "yes", "mutation-stage-1": "yes"}, changed.Data)
	changed.Data["webhook-e2e-test"] = "webhook-disallow"
	_, err = tenant.Client.CoreV1().ConfigMaps(guarded).Update(t.Context(), changed, metav1.UpdateOptions{})
	require.ErrorContains(t, err, "the configmap contains unwanted key and value")

	pod := runPod(t, w, tenant, guarded, "{metadata: {name: labelled, labels: {app: web}}, spec: {containers: [{name: main, image: IMAGE}]}}")
	require.Equal(t, "yes", pod.Labels["added-label"])
	require.Equal(t, "yes", hostPodOf(t, w, tenant, pod).Labels["added-label"])

	server.stop(t, tenant, attempt)
	server.requireMissing(t, attempt)
	_, err = tenant.Client.CoreV1().ConfigMaps(space).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}, metav1.CreateOptions{})
	require.NoError(t, err, "other namespaces are not concerned")
	scale(t, tenant, space, server.name, 1)
	took = lag(t, tenant, space, "app="+server.name, attempt)
	w.Report(fmt.Sprintf("The same after an outage of the webhook: %d ms", took.Milliseconds()))
}

// conversionWebhook lets upstream's test server convert between the versions of a CRD.
func conversionWebhook(t *testing.T, w *World, tenant *Tenant) {
	space := namespace(t, tenant, "converted")
	server := newGuard(t, w, tenant, space, "converter", "crd-conversion-webhook")
	apply(t, w, tenant, "", fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: contacts.stable.example.com}
spec:
  group: stable.example.com
  names: {kind: Contact, plural: contacts, singular: contact}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {hostPort: {type: string}}}}
  - name: v2
    served: true
    storage: false
    schema: {openAPIV3Schema: {type: object, properties: {host: {type: string}, port: {type: string}}}}
  conversion:
    strategy: Webhook
    webhook: {conversionReviewVersions: [v1], clientConfig: %s}
`, server.clientConfig("/crdconvert")))
	old, current := dynamicOf(t, tenant, "stable.example.com", "v1", "contacts", space), dynamicOf(t, tenant, "stable.example.com", "v2", "contacts", space)

	eventually(t, "the API of the definition", func(ctx context.Context) (bool, string) {
		// kubectl wait gives up at once on a definition that has no conditions yet.
		_, err := old.List(ctx, metav1.ListOptions{})
		return err == nil, errText(err)
	})
	_, err := old.Create(t.Context(), contact("v1", "one", map[string]any{"hostPort": "localhost:7070"}), metav1.CreateOptions{})
	require.NoError(t, err, "the version in which it is stored needs nobody")
	attempt := func(ctx context.Context) error {
		_, err := current.Get(ctx, "one", metav1.GetOptions{})
		return err
	}
	server.requireMissing(t, attempt)
	scale(t, tenant, space, server.name, 1)
	took := lag(t, tenant, space, "app="+server.name, attempt)
	w.Report(fmt.Sprintf("From the readiness of a conversion webhook's pod to the first object that it converts: %d ms", took.Milliseconds()))

	found, err := current.Get(t.Context(), "one", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, []any{"localhost", "7070"}, []any{found.Object["host"], found.Object["port"]})
	watch, err := old.Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer watch.Stop()
	_, err = current.Create(t.Context(), contact("v2", "two", map[string]any{"host": "example.com", "port": "1234"}), metav1.CreateOptions{})
	require.NoError(t, err)
	for event := range watch.ResultChan() {
		if object, ok := event.Object.(*unstructured.Unstructured); ok && object.GetName() == "two" {
			require.Equal(t, "example.com:1234", object.Object["hostPort"])
			break
		}
	}
	list, err := current.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, 2)
	require.Contains(t, kubectl(t, w, tenant, space, "get", "contacts.v1.stable.example.com", "two", "-o", "jsonpath={.hostPort}"), "example.com:1234")

	server.stop(t, tenant, attempt)
	server.requireMissing(t, attempt)
	_, err = old.Get(t.Context(), "one", metav1.GetOptions{})
	require.NoError(t, err)
	scale(t, tenant, space, server.name, 1)
	took = lag(t, tenant, space, "app="+server.name, attempt)
	w.Report(fmt.Sprintf("The same after an outage of the converter: %d ms", took.Milliseconds()))
	kubectl(t, w, tenant, "", "delete", "crd", "contacts.stable.example.com")
	eventually(t, "the CRD to go", func(ctx context.Context) (bool, string) {
		_, err := old.List(ctx, metav1.ListOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
}

func contact(version, name string, content map[string]any) *unstructured.Unstructured {
	content["apiVersion"], content["kind"], content["metadata"] = "stable.example.com/"+version, "Contact", map[string]any{"name": name}
	return &unstructured.Unstructured{Object: content}
}

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// within reports how long a step took.
func within(w *World, what string, begin time.Time) {
	w.Report(fmt.Sprintf("%s: %.1f s", what, time.Since(begin).Seconds()))
}

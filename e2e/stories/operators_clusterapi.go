package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"nestling.dev/nestling/e2e/operators"
)

// provider is a kind as providers of Cluster API's bring it; the story itself controls it.
const provider = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: storyclusters.infrastructure.cluster.x-k8s.io
  labels: {cluster.x-k8s.io/v1beta1: v1beta1, cluster.x-k8s.io/v1beta2: v1beta1}
spec:
  group: infrastructure.cluster.x-k8s.io
  names: {kind: StoryCluster, plural: storyclusters, singular: storycluster}
  scope: Namespaced
  versions:
  - name: v1beta1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: storyclusters, labels: {cluster.x-k8s.io/aggregate-to-manager: "true"}}
rules: [{apiGroups: [infrastructure.cluster.x-k8s.io], resources: [storyclusters, storyclusters/status], verbs: ["*"]}]
`

// clusterAPI installs Cluster API, whose CRDs have two versions and a converter with a
// certificate of cert-manager's.
func clusterAPI(t *testing.T, w *World, tenant *Tenant) {
	begin := time.Now()
	manifests, err := w.Operators.ClusterAPI(t.Context())
	require.NoError(t, err)
	apply(t, w, tenant, "", string(manifests)+"---"+provider)
	space := namespace(t, tenant, "clusters")
	old, current := dynamicOf(t, tenant, "cluster.x-k8s.io", "v1beta1", "clusters", space), dynamicOf(t, tenant, "cluster.x-k8s.io", "v1beta2", "clusters", space)
	took := lag(t, tenant, operators.ClusterAPINamespace, "control-plane=controller-manager", func(ctx context.Context) error {
		_, err := old.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "metadata": map[string]any{"name": "one"},
			"spec": map[string]any{
				"infrastructureRef": map[string]any{"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "StoryCluster", "name": "one"},
			},
		}}, metav1.CreateOptions{})
		return err
	})
	w.Report(fmt.Sprintf("From the readiness of Cluster API's manager to the first Cluster, converted and admitted: %d ms", took.Milliseconds()))
	within(w, "From Cluster API's manifests to the first Cluster", begin)

	found, err := current.Get(t.Context(), "one", metav1.GetOptions{})
	require.NoError(t, err)
	reference, _, err := unstructured.NestedStringMap(found.Object, "spec", "infrastructureRef")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "StoryCluster", "name": "one"}, reference)

	provisioned(t, tenant, space)
	refused(t, tenant, space)

	require.NoError(t, current.Delete(t.Context(), "one", metav1.DeleteOptions{}))
	eventually(t, "the Cluster to be finished and gone", func(ctx context.Context) (bool, string) {
		found, err := current.Get(ctx, "one", metav1.GetOptions{})
		if err != nil {
			return apierrors.IsNotFound(err), err.Error()
		}
		return false, asJSON(found.Object)
	})
	_, err = dynamicOf(t, tenant, "infrastructure.cluster.x-k8s.io", "v1beta1", "storyclusters", space).Get(t.Context(), "one", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "it takes its infrastructure with it: %v", err)
}

// provisioned plays the provider: it says that what the Cluster asks for is there.
func provisioned(t *testing.T, tenant *Tenant, space string) {
	t.Helper()
	current := dynamicOf(t, tenant, "cluster.x-k8s.io", "v1beta2", "clusters", space)
	infrastructure := dynamicOf(t, tenant, "infrastructure.cluster.x-k8s.io", "v1beta1", "storyclusters", space)
	_, err := infrastructure.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "StoryCluster", "metadata": map[string]any{"name": "one"},
		"spec": map[string]any{"controlPlaneEndpoint": map[string]any{"host": "192.0.2.1", "port": int64(6443)}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	var made *unstructured.Unstructured
	eventually(t, "the controller to own the infrastructure", func(ctx context.Context) (bool, string) {
		if made, err = infrastructure.Get(ctx, "one", metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		return len(made.GetOwnerReferences()) == 1, asJSON(made.Object)
	})
	require.NoError(t, unstructured.SetNestedField(made.Object, true, "status", "initialization", "provisioned"))
	_, err = infrastructure.UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, "the Cluster to be provisioned", func(ctx context.Context) (bool, string) {
		found, err := current.Get(ctx, "one", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		phase, _, _ := unstructured.NestedString(found.Object, "status", "phase")
		host, _, _ := unstructured.NestedString(found.Object, "spec", "controlPlaneEndpoint", "host")
		return phase == "Provisioned" && host == "192.0.2.1" && len(found.GetFinalizers()) == 1, asJSON(found.Object)
	})
}

// refused wants the reason of the webhook.
func refused(t *testing.T, tenant *Tenant, space string) {
	t.Helper()
	_, err := dynamicOf(t, tenant, "cluster.x-k8s.io", "v1beta2", "machinedeployments", space).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineDeployment", "metadata": map[string]any{"name": "wrong"},
		"spec": map[string]any{
			"clusterName": "one",
			"selector":    map[string]any{"matchLabels": map[string]any{"app": "one"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "another"}},
				"spec": map[string]any{
					"clusterName":       "one",
					"bootstrap":         map[string]any{"dataSecretName": "none"},
					"infrastructureRef": map[string]any{"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "StoryMachineTemplate", "name": "one"},
				},
			},
		},
	}}, metav1.CreateOptions{})
	require.ErrorContains(t, err, `admission webhook "validation.machinedeployment.cluster.x-k8s.io" denied the request`)
}

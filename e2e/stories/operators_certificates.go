package stories

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"nestling.dev/nestling/e2e/operators"
)

// certificates installs cert-manager by its chart, and what needs it to start.
func certificates(t *testing.T, w *World, tenant *Tenant) {
	begin := time.Now()
	space := operators.CertManagerNamespace
	installed := make(chan error, 1)
	go func() { installed <- w.Operators.InstallCertManager(t.Context(), tenant.Kubeconfig) }()
	// Its webhook has a CA of its own, which its injector writes into the configurations.
	// Until then, and until its pod is ready, nothing of cert-manager's can be made.
	took := lag(t, tenant, space, "app.kubernetes.io/name=webhook", func(ctx context.Context) error {
		select {
		case err := <-installed:
			require.NoError(t, err)
			installed <- nil
		default:
		}
		_, err := dynamicOf(t, tenant, "cert-manager.io", "v1", "clusterissuers", "").Create(ctx, selfSigned("self-signed"), metav1.CreateOptions{})
		return err
	})
	w.Report(fmt.Sprintf("From the readiness of cert-manager's webhook to the first issuer that it admits, CA injected: %d ms", took.Milliseconds()))
	require.NoError(t, <-installed)
	within(w, "From helm install of cert-manager's chart to the end of its --wait", begin)

	t.Run("its webhook is replaced under load", func(t *testing.T) { replacedWebhook(t, w, tenant, space) })
	t.Run("a certificate is issued, renewed, and goes with its owner", func(t *testing.T) {
		t.Parallel()
		issued(t, w, tenant)
	})
	t.Run("two leases have a holder, and find another", func(t *testing.T) {
		t.Parallel()
		leader(t, tenant, space)
	})
	t.Run("Cluster API converts, completes, refuses and finishes", func(t *testing.T) {
		t.Parallel()
		clusterAPI(t, w, tenant)
	})
}

// replacedWebhook rolls the webhook out anew, while requests that need it go on: its pods
// are not asked any more once they have been told to end.
func replacedWebhook(t *testing.T, w *World, tenant *Tenant, space string) {
	const deployment, replaced = "cert-manager-webhook", 2
	scale(t, tenant, space, deployment, replaced)
	kubectl(t, w, tenant, space, "rollout", "status", "deployment/"+deployment, kubectlPatience)
	issuers := dynamicOf(t, tenant, "cert-manager.io", "v1", "clusterissuers", "")
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer stop()
	asked, failures := 0, []error{}
	asking.Go(func() {
		for ctx.Err() == nil {
			_, err := issuers.Create(context.WithoutCancel(ctx), selfSigned("asked"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if asked++; err != nil {
				failures = append(failures, err)
			}
			time.Sleep(5 * time.Millisecond) // the load, not a wait
		}
	})
	kubectl(t, w, tenant, space, "rollout", "restart", "deployment/"+deployment)
	kubectl(t, w, tenant, space, "rollout", "status", "deployment/"+deployment, kubectlPatience)
	eventually(t, "the old pods to go", func(ctx context.Context) (bool, string) {
		pods, err := tenant.Client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=webhook"})
		return err == nil && len(pods.Items) == replaced, errText(err)
	})
	stop()
	asking.Wait()
	w.Report(fmt.Sprintf("While an admission webhook's two pods were replaced, %d of %d requests failed", len(failures), asked))
	// A request that was on its way to a pod when that pod was told to end may be refused, on any
	// cluster; what must not be is a stretch of them. So there may be one for each pod that ended,
	// and one in a hundred beside.
	require.LessOrEqual(t, len(failures), replaced+asked/100, "%v", failures)
}

// selfSigned is the least of cert-manager's objects.
func selfSigned(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"selfSigned": map[string]any{}},
	}}
}

// issued makes an authority, and a certificate of it for a server that a client trusts.
func issued(t *testing.T, w *World, tenant *Tenant) {
	space := namespace(t, tenant, "issued")
	begin := time.Now()
	apply(t, w, tenant, space, `
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: authority}
spec: {isCA: true, commonName: stories, secretName: authority, privateKey: {algorithm: ECDSA}, issuerRef: {kind: ClusterIssuer, name: self-signed}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: authority}
spec: {ca: {secretName: authority}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web}
spec: {secretName: web, dnsNames: [web.stories.example.com], privateKey: {algorithm: ECDSA}, issuerRef: {kind: Issuer, name: authority}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 443, targetPort: 8443}]}
`)
	kubectl(t, w, tenant, space, "wait", "--for=condition=Ready", kubectlPatience, "certificate/authority", "certificate/web")
	within(w, "From the manifests of an authority and a certificate of it to both issued", begin)

	// Its Secret is a pod's, the way any other is.
	runPod(t, w, tenant, space, `
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: main
    image: IMAGE
    command: [agnhost, netexec, --http-port=8443, --tls-cert-file=/certificate/tls.crt, --tls-private-key-file=/certificate/tls.key]
    readinessProbe: {tcpSocket: {port: 8443}, PROBE}
    volumeMounts: [{name: certificate, mountPath: /certificate}]
  volumes: [{name: certificate, secret: {secretName: web}}]
`)
	client := runPod(t, w, tenant, space, `
metadata: {name: client}
spec:
  containers: [{name: main, image: IMAGE, volumeMounts: [{name: authority, mountPath: /authority}]}]
  volumes: [{name: authority, secret: {secretName: authority, items: [{key: ca.crt, path: ca.crt}]}}]
`)
	eventuallyShell(t, tenant, client, "curl -sS -m 5 --cacert /authority/ca.crt --resolve web.stories.example.com:443:$WEB_SERVICE_HOST https://web.stories.example.com/hostname", "web")

	// A Secret that is deleted is issued anew, and one of a certificate that is deleted goes.
	first := serialNumber(t, tenant, space)
	require.NoError(t, tenant.Client.CoreV1().Secrets(space).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, "another certificate", func(context.Context) (bool, string) {
		now := serialNumber(t, tenant, space)
		return now != "" && now != first, now
	})
	require.NoError(t, dynamicOf(t, tenant, "cert-manager.io", "v1", "certificates", space).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, "the Secret of a deleted certificate to go", func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().Secrets(space).Get(ctx, "web", metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})

	_, err := dynamicOf(t, tenant, "cert-manager.io", "v1", "certificates", space).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": map[string]any{"name": "nameless"},
		"spec": map[string]any{"secretName": "nameless", "issuerRef": map[string]any{"name": "authority"}},
	}}, metav1.CreateOptions{})
	require.ErrorContains(t, err, `admission webhook "webhook.cert-manager.io" denied the request`)
	require.ErrorContains(t, err, "at least one of")
}

// serialNumber of the certificate in the Secret web, or nothing while there is none.
func serialNumber(t *testing.T, tenant *Tenant, namespace string) string {
	t.Helper()
	secret, err := tenant.Client.CoreV1().Secrets(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	require.NoError(t, err)
	block, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
	if block == nil {
		return ""
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return certificate.SerialNumber.String()
}

// leader ends the pod that leads; another takes the lease over.
func leader(t *testing.T, tenant *Tenant, space string) {
	holder := func(name string) string {
		lease, err := tenant.Client.CoordinationV1().Leases(space).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return ""
		}
		pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_") // controller-runtime adds a UUID
		return pod
	}
	for lease, component := range map[string]string{
		"cert-manager-controller": "controller", "cert-manager-cainjector-leader-election": "cainjector",
	} {
		pods := podsOf(t, tenant, space, "app.kubernetes.io/component="+component)
		require.Len(t, pods, 1)
		eventually(t, "the pod to hold lease "+lease, func(context.Context) (bool, string) {
			return holder(lease) == pods[0].Name, holder(lease)
		})
		require.NoError(t, tenant.Client.CoreV1().Pods(space).Delete(t.Context(), pods[0].Name, metav1.DeleteOptions{}))
		eventually(t, "another pod to hold lease "+lease, func(context.Context) (bool, string) {
			now := holder(lease)
			return now != "" && now != pods[0].Name, now
		})
	}
}

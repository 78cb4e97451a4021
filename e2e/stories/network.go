package stories

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/e2e/addon/cloud"
	"nestling.dev/nestling/syncer/naming"
)

// network is what others do with what the tenant says about it.
func network() []Story {
	return append([]Story{
		{Name: "an Ingress serves hosts and paths, with the tenant's certificate", Run: ingress},
		{Name: "an Ingress of the tenant's own class stays in the tenant", Run: ownIngressClass},
		{Name: "a network policy means the tenant's pods, and nobody else's", Run: networkPolicy},
		{Name: "network policies hold, and leave the tenant's DNS and API in reach", Real: true, Run: enforced},
	}, exposures()...)
}

// keyPair is a certificate for a host that signs itself.
func keyPair(t *testing.T, host string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})
}

// visitor asks the platform's Ingress for a host, as the host's users do, and trusts what
// the tenant has given it.
func visitor(w *World, certificate []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, map[string]string{"80": w.Cloud.HTTP, "443": w.Cloud.HTTPS}[port])
		},
		DisableKeepAlives: true, // or a new certificate would not be seen
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func fetch(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return string(body), err
}

func ingress(t *testing.T, w *World) {
	space := namespace(t, w.A, "ingress")
	host := space + ".example.org" // nobody else's
	certificate, key := keyPair(t, host)
	_, err := w.A.Client.CoreV1().Secrets(space).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "web-tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	for _, name := range []string{"shop", "blog"} {
		_, err = w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w, `
metadata: {name: `+name+`}
spec: {selector: {app: `+name+`}, ports: [{name: http, port: 80, targetPort: 8080}]}
`), metav1.CreateOptions{})
		require.NoError(t, err)
		createPod(t, w, w.A, space, `
metadata: {name: `+name+`, labels: {app: `+name+`}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], readinessProbe: {httpGet: {port: 8080}, PROBE}}]}
`)
	}
	eventually(t, "the class to be mirrored", func(ctx context.Context) (bool, string) {
		_, err := w.A.Client.NetworkingV1().IngressClasses().Get(ctx, cloud.Class, metav1.GetOptions{})
		return err == nil, errText(err)
	})
	_, err = w.A.Client.NetworkingV1().Ingresses(space).Create(t.Context(), decode[networkingv1.Ingress](t, w, `
metadata: {name: web}
spec:
  ingressClassName: `+cloud.Class+`
  tls: [{hosts: [`+host+`], secretName: web-tls}]
  rules:
  - host: `+host+`
    http:
      paths:
      - {path: /hostname, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}
      - {path: /shell, pathType: Exact, backend: {service: {name: blog, port: {number: 80}}}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the address of the Ingress", func(ctx context.Context) (bool, string) {
		got, err := w.A.Client.NetworkingV1().Ingresses(space).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(got.Status.LoadBalancer.Ingress) == 1 && got.Status.LoadBalancer.Ingress[0].IP == cloud.IngressAddress, asJSON(got.Status)
	})
	waitEvent(t, w.A, space, "web", "Sync", `Serving `+space+`/web with Secret "web-tls"`)

	// The certificate is the tenant's, on both sides: a new one is served without a new Ingress.
	client := visitor(w, certificate)
	served := func() {
		t.Helper()
		eventually(t, "the tenant's certificate", func(ctx context.Context) (bool, string) {
			_, err := fetch(ctx, client, "https://"+host+"/nothing")
			return err != nil && err.Error() == "404 Not Found" || err == nil, errText(err)
		})
	}
	served()
	for _, pod := range []string{"shop", "blog"} {
		waitPod(t, w.A, space, pod, "is ready", isReady)
	}
	if w.Real {
		for path, want := range map[string]string{"/hostname": "shop", "/shell?cmd=hostname": "blog"} {
			eventually(t, want+" at "+path, func(ctx context.Context) (bool, string) {
				answer, err := fetch(ctx, client, "https://"+host+path)
				return strings.Contains(answer, want), answer + errText(err)
			})
		}
		answer, err := fetch(t.Context(), client, "http://"+host+"/hostname")
		require.NoError(t, err)
		require.Equal(t, "shop", answer)
	}
	certificate, key = keyPair(t, host)
	_, err = w.A.Client.CoreV1().Secrets(space).Update(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "web-tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}, metav1.UpdateOptions{})
	require.NoError(t, err)
	client = visitor(w, certificate)
	served()
	require.NoError(t, w.A.Client.NetworkingV1().Ingresses(space).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, "the Secret to leave the host with the Ingress", func(ctx context.Context) (bool, string) {
		_, err := w.Host.CoreV1().Secrets(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, "web-tls"), metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
}

func ownIngressClass(t *testing.T, w *World) {
	space := namespace(t, w.B, "own-class")
	classes := w.B.Client.NetworkingV1().IngressClasses()
	_, err := classes.Create(t.Context(), decode[networkingv1.IngressClass](t, w, "{metadata: {name: "+space+"}, spec: {controller: example.org/mine}}"), metav1.CreateOptions{})
	require.NoError(t, err)
	ingresses := w.B.Client.NetworkingV1().Ingresses(space)
	for name, class := range map[string]string{"mine": space, "hosts": cloud.Class} {
		_, err = ingresses.Create(t.Context(), decode[networkingv1.Ingress](t, w, `
metadata: {name: `+name+`}
spec: {ingressClassName: `+class+`, defaultBackend: {service: {name: web, port: {number: 80}}}}
`), metav1.CreateOptions{})
		require.NoError(t, err)
	}
	on := func(name string) error {
		_, err := w.Host.NetworkingV1().Ingresses(w.HostNamespace).Get(t.Context(), naming.Host(w.B.Name, space, name), metav1.GetOptions{})
		return err
	}
	eventually(t, "the one of the host's class on the host", func(context.Context) (bool, string) {
		return on("hosts") == nil, errText(on("hosts"))
	})
	require.True(t, apierrors.IsNotFound(on("mine")))
	require.NoError(t, classes.Delete(t.Context(), space, metav1.DeleteOptions{}))
	eventually(t, "the other, of a class that is nobody's now", func(context.Context) (bool, string) {
		return on("mine") == nil, errText(on("mine"))
	})
}

// networkPolicy asks of the host's objects whom a policy means; whether the host's network
// enforces it is the host's.
func networkPolicy(t *testing.T, w *World) {
	space, friends := namespace(t, w.A, "isolated"), namespace(t, w.A, "friends")
	labelled, err := w.A.Client.CoreV1().Namespaces().Get(t.Context(), friends, metav1.GetOptions{})
	require.NoError(t, err)
	labelled.Labels["team"] = friends
	_, err = w.A.Client.CoreV1().Namespaces().Update(t.Context(), labelled, metav1.UpdateOptions{})
	require.NoError(t, err)
	other := namespace(t, w.B, "stranger")
	_, err = w.B.Client.CoreV1().Namespaces().Update(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other, Labels: map[string]string{"team": friends}}}, metav1.UpdateOptions{})
	require.NoError(t, err)

	type actor struct {
		tenant        *Tenant
		space         string
		isPeer, meant bool
	}
	actors := map[string]actor{
		"web":      {w.A, space, false, true},
		"sibling":  {w.A, space, false, false},
		"friend":   {w.A, friends, true, false},
		"stranger": {w.B, other, false, false},
	}
	for name, a := range actors {
		createPod(t, w, a.tenant, a.space, `
metadata: {name: `+name+`, labels: {app: `+name+`, role: client}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE}]}
`)
	}
	_, err = w.A.Client.NetworkingV1().NetworkPolicies(space).Create(t.Context(), decode[networkingv1.NetworkPolicy](t, w, `
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: `+friends+`}}, podSelector: {matchLabels: {role: client}}}], ports: [{port: 8080}]}]
  egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.1/32]}}]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	var host *networkingv1.NetworkPolicy
	eventually(t, "the policy on the host", func(ctx context.Context) (bool, string) {
		host, err = w.Host.NetworkingV1().NetworkPolicies(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, "web"), metav1.GetOptions{})
		return err == nil, errText(err)
	})
	require.Nil(t, host.Spec.Ingress[0].From[0].NamespaceSelector)
	meets := func(ctx context.Context, selector *metav1.LabelSelector) map[string]bool {
		out := map[string]bool{}
		pods, err := w.Host.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)})
		require.NoError(t, err)
		for _, pod := range pods.Items {
			out[pod.Annotations["nestling.dev/name"]+" "+pod.Labels["nestling.dev/control-plane"]] = true
		}
		return out
	}
	for what, selector := range map[string]struct {
		selector *metav1.LabelSelector
		want     func(actor) bool
	}{
		"subjects": {&host.Spec.PodSelector, func(a actor) bool { return a.meant }},
		"peers":    {host.Spec.Ingress[0].From[0].PodSelector, func(a actor) bool { return a.isPeer }},
	} {
		want := map[string]bool{}
		for name, a := range actors {
			if selector.want(a) {
				want[name+" "] = true
			}
		}
		eventually(t, what+" on the host", func(ctx context.Context) (bool, string) {
			diff := cmp.Diff(want, meets(ctx, selector.selector))
			return diff == "", diff
		})
	}
	if w.Real { // in the sandbox no control plane is a pod
		require.Equal(t, map[string]bool{" " + w.A.Name: true}, meets(t.Context(), host.Spec.Egress[1].To[0].PodSelector), "its own control plane")
	}
	require.Equal(t, "203.0.113.0/24 [203.0.113.1/32]", fmt.Sprint(host.Spec.Egress[0].To[0].IPBlock.CIDR, " ", host.Spec.Egress[0].To[0].IPBlock.Except))
}

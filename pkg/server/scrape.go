package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/pki"
)

const (
	// scrapeLifetime is how long the certificate that scrapes lives; it is renewed when a
	// third of that is left.
	scrapeLifetime = 90 * 24 * time.Hour
	scrapeRenewal  = scrapeLifetime / 3
	// scrapeLook is how often the Secret is looked at: somebody may have taken it away.
	scrapeLook  = 5 * time.Minute
	scrapeRetry = 10 * time.Second
)

// Keys of the Secret TENANT-metrics; they are contract.
const (
	scrapeCAKey   = "ca.crt"
	scrapeCertKey = corev1.TLSCertKey
	scrapeKeyKey  = corev1.TLSPrivateKeyKey
)

// runScrapeSecret keeps the credential by which Prometheus scrapes this process. A tenant
// serves without it: what goes wrong is told, and tried again.
func (s *server) runScrapeSecret(ctx context.Context, ready func()) error {
	ready()
	if !s.config.Metrics.ScrapeSecret {
		<-ctx.Done()
		return nil
	}
	for {
		wait := scrapeLook
		expires, err := keepScrapeSecret(ctx, s.host, s.names, s.owner, s.pki, time.Now())
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The credential for Prometheus is not kept and will be tried again")
			wait = scrapeRetry
		}
		if err == nil {
			s.scrapeExpires.Store(&expires)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// keepScrapeSecret makes the host Secret right: one that is good stays as it is. It
// returns when the certificate in it expires.
func keepScrapeSecret(ctx context.Context, host kubernetes.Interface, names deploy.Names, owner metav1.OwnerReference, bundle *pki.Bundle, now time.Time) (expires time.Time, err error) {
	secrets := host.CoreV1().Secrets(names.Namespace)
	current, err := secrets.Get(ctx, names.Metrics(), metav1.GetOptions{})
	exists := err == nil
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return time.Time{}, fmt.Errorf("read host Secret %s/%s: %w", names.Namespace, names.Metrics(), err)
	case exists && !slices.ContainsFunc(current.OwnerReferences, func(is metav1.OwnerReference) bool { return is.UID == owner.UID }):
		return time.Time{}, fmt.Errorf("host Secret %s/%s is not this tenant's: remove it, or turn metrics.scrapeSecret off", names.Namespace, names.Metrics())
	}
	if exists {
		if expires, good := judgeScrapeSecret(current.Data, bundle, now); good {
			return expires, nil
		}
	}
	cert, key, err := bundle.Issue(pki.Leaf{CommonName: controlplane.MetricsUser, Client: true, Lifetime: scrapeLifetime})
	if err != nil {
		return time.Time{}, err
	}
	if expires, err = pki.Expiry(cert); err != nil {
		return time.Time{}, err
	}
	data := map[string][]byte{scrapeCAKey: bundle.CAPEM(), scrapeCertKey: cert, scrapeKeyKey: key}
	if !exists {
		secret := ownSecret(names, names.Metrics(), owner, data)
		secret.Labels = map[string]string{deploy.ControlPlaneLabel: names.Tenant}
		if _, err := secrets.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
			return time.Time{}, fmt.Errorf("create host Secret %s/%s: %w", names.Namespace, names.Metrics(), err)
		}
		return expires, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": current.UID}, "data": replacedData(current.Data, data)})
	if err != nil {
		return time.Time{}, fmt.Errorf("encode host Secret %s/%s: %w", names.Namespace, names.Metrics(), err)
	}
	if _, err := secrets.Patch(ctx, names.Metrics(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return time.Time{}, fmt.Errorf("renew host Secret %s/%s: %w", names.Namespace, names.Metrics(), err)
	}
	return expires, nil
}

// replacedData is a merge patch's: keys that are no more go.
func replacedData(before, after map[string][]byte) map[string]any {
	out := map[string]any{}
	for key := range before {
		out[key] = nil
	}
	for key, value := range after {
		out[key] = value
	}
	return out
}

// judgeScrapeSecret reports whether the data is what Prometheus needs, for a while longer.
func judgeScrapeSecret(data map[string][]byte, bundle *pki.Bundle, now time.Time) (expires time.Time, good bool) {
	if len(data) != 3 || !bytes.Equal(data[scrapeCAKey], bundle.CAPEM()) {
		return time.Time{}, false
	}
	pair, err := tls.X509KeyPair(data[scrapeCertKey], data[scrapeKeyKey])
	if err != nil {
		return time.Time{}, false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle.CAPEM())
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	good = err == nil && pair.Leaf.Subject.CommonName == controlplane.MetricsUser && len(pair.Leaf.Subject.Organization) == 0 &&
		pair.Leaf.NotAfter.Sub(now) > scrapeRenewal
	return pair.Leaf.NotAfter, good
}

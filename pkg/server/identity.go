package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/pki"
)

const (
	// kubeconfigKey of the Secret TENANT-kubeconfig is contract.
	kubeconfigKey = "config"
	// adminLifetime is how long the admin's certificate in it lives, and adminRenewal
	// how much of that must be left for the Secret to stay as it is at a start.
	adminLifetime = 365 * 24 * time.Hour
	adminRenewal  = 90 * 24 * time.Hour
)

// loadPKI reads the tenant's identity from its host Secret, and makes it at the first
// start: it outlives the data directory.
func loadPKI(ctx context.Context, host kubernetes.Interface, names deploy.Names, owner metav1.OwnerReference, now time.Time) (*pki.Bundle, error) {
	secrets := host.CoreV1().Secrets(names.Namespace)
	for {
		secret, err := secrets.Get(ctx, names.PKI(), metav1.GetOptions{})
		if err == nil {
			bundle, err := pki.Decode(secret.Data)
			if err != nil {
				return nil, fmt.Errorf("host Secret %s/%s is not this tenant's identity: %w (restore it from a backup; without it every kubeconfig and token becomes invalid)", names.Namespace, names.PKI(), err)
			}
			return bundle, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read host Secret %s/%s: %w", names.Namespace, names.PKI(), err)
		}
		bundle, err := pki.New(now)
		if err != nil {
			return nil, err
		}
		_, err = secrets.Create(ctx, ownSecret(names, names.PKI(), owner, bundle.Encode()), metav1.CreateOptions{})
		switch {
		case err == nil:
			return bundle, nil
		case !apierrors.IsAlreadyExists(err): // an earlier start of ours came first: read its
			return nil, fmt.Errorf("create host Secret %s/%s: %w", names.Namespace, names.PKI(), err)
		}
	}
}

// keepKubeconfig makes the host Secret with the admin's kubeconfig right: one whose
// server, authority and remaining life are good stays as it is, so that copies of it
// stay equal to it.
func keepKubeconfig(ctx context.Context, host kubernetes.Interface, names deploy.Names, owner metav1.OwnerReference, bundle *pki.Bundle, server string, now time.Time) error {
	secrets := host.CoreV1().Secrets(names.Namespace)
	current, err := secrets.Get(ctx, names.Kubeconfig(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read host Secret %s/%s: %w", names.Namespace, names.Kubeconfig(), err)
	}
	exists := err == nil
	if exists && kubeconfigIsGood(current.Data[kubeconfigKey], server, string(bundle.CAPEM()), now) {
		return nil
	}
	content, err := bundle.Kubeconfig(names.Tenant, server, pki.Leaf{
		CommonName: "nestling:admin", Organizations: []string{"system:masters"}, Lifetime: adminLifetime,
	})
	if err != nil {
		return err
	}
	data := map[string][]byte{kubeconfigKey: content}
	if !exists {
		if _, err := secrets.Create(ctx, ownSecret(names, names.Kubeconfig(), owner, data), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create host Secret %s/%s: %w", names.Namespace, names.Kubeconfig(), err)
		}
		return nil
	}
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return fmt.Errorf("encode host Secret %s/%s: %w", names.Namespace, names.Kubeconfig(), err)
	}
	if _, err := secrets.Patch(ctx, names.Kubeconfig(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("renew host Secret %s/%s: %w", names.Namespace, names.Kubeconfig(), err)
	}
	return nil
}

// kubeconfigIsGood reports whether a kubeconfig reaches server, trusts authority, and
// has a client certificate that lives for a while.
func kubeconfigIsGood(content []byte, server, authority string, now time.Time) bool {
	config, err := clientcmd.Load(content)
	if err != nil {
		return false
	}
	current, ok := config.Contexts[config.CurrentContext]
	if !ok {
		return false
	}
	cluster, user := config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
	if cluster == nil || user == nil || cluster.Server != server || string(cluster.CertificateAuthorityData) != authority {
		return false
	}
	block, _ := pem.Decode(user.ClientCertificateData)
	if block == nil {
		return false
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	return err == nil && certificate.NotAfter.Sub(now) > adminRenewal
}

func ownSecret(names deploy.Names, name string, owner metav1.OwnerReference, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: names.Namespace, Name: name,
			OwnerReferences: []metav1.OwnerReference{owner},
		},
		Type: corev1.SecretTypeOpaque,
		Data: data,
	}
}

// serverHost is the host name in the URL of a kubeconfig; config has checked it.
func serverHost(server string) string {
	parsed, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/pki"
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
			return renewPKI(ctx, host, secret, bundle, now)
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

// renewPKI gives authorities that near their end another life. It is done at a start, before
// anybody in the process has the old ones.
func renewPKI(ctx context.Context, host kubernetes.Interface, secret *corev1.Secret, bundle *pki.Bundle, now time.Time) (*pki.Bundle, error) {
	renewed, changed, err := bundle.Renewed(now)
	if err != nil || !changed {
		return bundle, err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": secret.UID, "resourceVersion": secret.ResourceVersion},
		"data":     renewed.Encode(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode host Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	if _, err := host.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return nil, fmt.Errorf("renew host Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	klog.FromContext(ctx).Info("The tenant's authorities have another life; copies of kubeconfigs work until the old ones end")
	return renewed, nil
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

package access

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/pki"
)

const (
	// adminUser and adminGroup are who the tenant's administrator is.
	adminUser, adminGroup = "nestling:admin", "system:masters"

	// adminLifetime is that of the administrator's certificate, userLifetime that of others'.
	adminLifetime = 365 * 24 * time.Hour
	userLifetime  = 90 * 24 * time.Hour
	// tokenLifetime is that of a ServiceAccount's token. A tenant that was paused for longer renews it when it is back.
	tokenLifetime = 24 * time.Hour
)

// keepSecret makes one Secret right, and returns how long its credential lives. Where there is no URL yet, there is no
// Secret yet, either.
func (k *Keeper) keepSecret(ctx context.Context, entry config.Kubeconfig, server string) (life, error) {
	if server == "" {
		return life{}, nil
	}
	secrets := k.opts.Host.CoreV1().Secrets(entry.Secret.Namespace)
	secret, err := secrets.Get(ctx, entry.Secret.Name, metav1.GetOptions{})
	exists := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return life{}, fmt.Errorf("read host Secret %s/%s: %w", entry.Secret.Namespace, entry.Secret.Name, err)
	}
	ours := entry.Secret.Namespace == k.opts.Names.Namespace
	if !exists && !ours {
		return life{}, fmt.Errorf("host Secret %s/%s is missing: apply the tenant's manifests again", entry.Secret.Namespace, entry.Secret.Name)
	}
	from, err := k.origin(ctx, entry, server)
	if err != nil {
		return life{}, err
	}
	if exists {
		switch judge(secret, k.of, owned(secret, k.opts.Owner), from, k.opts.Clock.Now()) {
		case good:
			return lifeOf(secret), nil
		case foreign:
			return life{}, fmt.Errorf("host Secret %s/%s is not this tenant's, and stays as it is: remove it, or choose another name",
				entry.Secret.Namespace, entry.Secret.Name)
		}
	}
	credential, err := k.credential(ctx, entry, from)
	if err != nil {
		return life{}, err
	}
	data, err := Access{Format: entry.Format, Cluster: entry.ClusterName, Server: server, CA: from.CA, Credential: credential}.Data()
	if err != nil {
		return life{}, err
	}
	made := annotations(k.of, from, data, credential)
	if exists {
		err = k.patch(ctx, secret, labels(entry.Format, k.opts.Names), made, data)
	} else {
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: entry.Secret.Namespace, Name: entry.Secret.Name,
				Labels: labels(entry.Format, k.opts.Names), Annotations: made,
				OwnerReferences: []metav1.OwnerReference{k.opts.Owner},
			},
			Type: corev1.SecretTypeOpaque, Data: data,
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return life{}, fmt.Errorf("write host Secret %s/%s: %w", entry.Secret.Namespace, entry.Secret.Name, err)
	}
	return life{credential.renewAt(), credential.Expires}, nil
}

// patch fails if somebody has written the Secret since it was read: it may be theirs now.
func (k *Keeper) patch(ctx context.Context, secret *corev1.Secret, labels, annotations map[string]string, data map[string][]byte) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": secret.UID, "resourceVersion": secret.ResourceVersion, "labels": labels, "annotations": annotations},
		"data":     replaced(secret.Data, data),
	})
	if err != nil {
		return err
	}
	_, err = k.opts.Host.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// origin is what a Secret is made of. A ServiceAccount is made on the way.
func (k *Keeper) origin(ctx context.Context, entry config.Kubeconfig, server string) (origin, error) {
	out := origin{Format: entry.Format, Cluster: entry.ClusterName, Server: server, CA: k.opts.PKI.CAPEM()}
	switch {
	case entry.ServiceAccount != nil:
		account, err := k.account(ctx, *entry.ServiceAccount)
		if err != nil {
			return out, err
		}
		out.User, out.Holder = serviceAccountUser(*entry.ServiceAccount), string(account.UID)
	case entry.User != "":
		out.User, out.Groups = entry.User, entry.Groups
	default:
		out.User, out.Groups = adminUser, []string{adminGroup}
	}
	return out, nil
}

// credential is a fresh one. Programs that read the Secret again get a token, which ends with its ServiceAccount;
// others a certificate.
func (k *Keeper) credential(ctx context.Context, entry config.Kubeconfig, from origin) (Credential, error) {
	now := k.opts.Clock.Now()
	if ref := entry.ServiceAccount; ref != nil {
		made, err := k.virtual.CoreV1().ServiceAccounts(ref.Namespace).CreateToken(ctx, ref.Name, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenLifetime / time.Second))},
		}, metav1.CreateOptions{})
		if err != nil {
			return Credential{}, fmt.Errorf("token of virtual ServiceAccount %s/%s: %w", ref.Namespace, ref.Name, err)
		}
		return Credential{User: from.User, Token: made.Status.Token, Issued: now, Expires: made.Status.ExpirationTimestamp.Time}, nil
	}
	lifetime := userLifetime
	if from.User == adminUser {
		lifetime = adminLifetime
	}
	cert, key, err := k.opts.PKI.Issue(pki.Leaf{CommonName: from.User, Organizations: from.Groups, Client: true, Lifetime: lifetime, Now: now})
	if err != nil {
		return Credential{}, err
	}
	return Credential{User: from.User, Cert: cert, Key: key, Issued: now, Expires: k.opts.PKI.Expiry(now, lifetime)}, nil
}

// tidy removes Secrets in the tenant's own namespace that the configuration does not ask for any more. Those in
// others go with the manifests that made them.
func (k *Keeper) tidy(ctx context.Context) error {
	secrets := k.opts.Host.CoreV1().Secrets(k.opts.Names.Namespace)
	found, err := secrets.List(ctx, metav1.ListOptions{LabelSelector: deploy.ControlPlaneLabel + "=" + k.opts.Names.Tenant})
	if err != nil {
		return fmt.Errorf("list host Secrets of %s: %w", k.of, err)
	}
	for _, secret := range found.Items {
		wanted := secret.Name == k.opts.Names.Kubeconfig() || slices.ContainsFunc(k.opts.Kubeconfigs, func(entry config.Kubeconfig) bool {
			return entry.Secret == config.ObjectRef{Namespace: secret.Namespace, Name: secret.Name}
		})
		if wanted || secret.Annotations[deploy.KubeconfigOfAnnotation] != k.of || !owned(&secret, k.opts.Owner) {
			continue
		}
		if err := remove(ctx, k.opts.Host, &secret); err != nil {
			return err
		}
	}
	return nil
}

// Withdraw removes what is in other namespaces, which does not go with the tenant's anchor: for a tenant that ends by
// itself. Where there is no right to that, it was not installed so that it could.
func Withdraw(ctx context.Context, host kubernetes.Interface, names deploy.Names, kubeconfigs []config.Kubeconfig) error {
	var errs []error
	namespaces := map[string]bool{}
	for _, entry := range kubeconfigs {
		if entry.Secret.Namespace == names.Namespace {
			continue
		}
		namespaces[entry.Secret.Namespace] = true
		secret, err := host.CoreV1().Secrets(entry.Secret.Namespace).Get(ctx, entry.Secret.Name, metav1.GetOptions{})
		if err == nil && secret.Annotations[deploy.KubeconfigOfAnnotation] == names.KubeconfigOf() {
			err = remove(ctx, host, secret)
		}
		errs = append(errs, err)
	}
	if err := withdrawn(errs); err != nil {
		return err
	}
	errs = nil
	for namespace := range namespaces { // the last: then there is no right to anything there
		errs = append(errs, host.RbacV1().RoleBindings(namespace).Delete(ctx, names.Kubeconfigs(), metav1.DeleteOptions{}))
	}
	return withdrawn(errs)
}

// withdrawn forgets what another try would not change.
func withdrawn(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) })
	return utilerrors.NewAggregate(errs)
}

func remove(ctx context.Context, host kubernetes.Interface, secret *corev1.Secret) error {
	err := host.CoreV1().Secrets(secret.Namespace).Delete(ctx, secret.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove host Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}

func owned(secret *corev1.Secret, owner metav1.OwnerReference) bool {
	return slices.ContainsFunc(secret.OwnerReferences, func(found metav1.OwnerReference) bool { return found.UID == owner.UID })
}

package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// fieldManager is the name under which the syncer writes.
const fieldManager = "nestling"

// sync brings the host Secret of one pod in line. It returns after what time it wants
// to be called again.
func (c *Controller) sync(ctx context.Context, key resource.Key) (time.Duration, error) {
	env := c.options.Env()
	name := resources.TokenSecretName(env.Tenant, key.Namespace, key.Name)
	pod := fromCache[*corev1.Pod](c.options.Pods, key)
	cached := fromCache[*corev1.Secret](c.options.HostSecrets, resource.Key{Namespace: env.HostNamespace, Name: name})
	live, behind := c.written.newest(name, cached, c.options.Clock.Now())
	if live != nil && !resource.IsOurs(env, resources.TokensKind, live) {
		live = nil // somebody else's: a create will tell
	}
	mine := live != nil && pod != nil && live.Annotations[resource.AnnotationUID] == string(pod.UID)
	switch {
	case pod == nil || ended(pod) || len(resources.Tokens(pod)) == 0:
		return 0, c.drop(ctx, live)
	case pod.DeletionTimestamp != nil && !mine:
		return 0, nil // on its way out: no host pod will be made for it
	case !mine:
		again, err := c.make(ctx, env, pod, live)
		c.options.Metrics.count(changeMade, err)
		return again, err
	default:
		again, err := c.renew(ctx, env, pod, live)
		if behind {
			again = min(again, cacheLag) // it may have been deleted in between
		}
		return again, err
	}
}

// make fills the Secret of a pod that has none, or takes over that of a namesake that
// is gone. It is all or nothing: the host pod waits for it.
func (c *Controller) make(ctx context.Context, env resource.Env, pod *corev1.Pod, namesake *corev1.Secret) (time.Duration, error) {
	content := newContent()
	if err := c.request(ctx, pod, resources.Tokens(pod), content); err != nil {
		return 0, err
	}
	want := secretOf(env, pod, content)
	secrets := c.options.Host.CoreV1().Secrets(env.HostNamespace)
	var made *corev1.Secret
	var err error
	if namesake == nil {
		made, err = secrets.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if apierrors.IsAlreadyExists(err) {
		// Ours, when the cache is behind or somebody took our label off; or somebody else's.
		if namesake, err = secrets.Get(ctx, want.Name, metav1.GetOptions{}); err != nil {
			return 0, fmt.Errorf("read host secret of tokens %s: %w", want.Name, err)
		}
		if !resource.IsOurs(env, resources.TokensKind, namesake) {
			told := plan.NameTaken().Event
			c.options.Recorder.Event(pod, told.Type, told.Reason, told.Message)
			return 0, fmt.Errorf("host secret %s is not ours, and has the name that the tokens of a pod need", want.Name)
		}
	}
	if namesake != nil {
		// Made anew: a patch would leave keys of the namesake, and the process has no
		// right to update.
		if err := c.drop(ctx, namesake); err != nil {
			return 0, err
		}
		made, err = secrets.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		if c.options.Failed != nil {
			c.options.Failed(ctx, pod, err)
		}
		return 0, fmt.Errorf("write host secret of tokens %s: %w", want.Name, err)
	}
	return c.wrote(pod, made, content.lifetimes), nil
}

// renew writes those tokens of a pod that are due. One that can't be had keeps none of
// the others from being renewed.
func (c *Controller) renew(ctx context.Context, env resource.Env, pod *corev1.Pod, live *corev1.Secret) (again time.Duration, err error) {
	content := newContent()
	var due []resources.Token
	now, lifetimes := c.options.Clock.Now(), lifetimesOf(live)
	for _, token := range resources.Tokens(pod) {
		lifetime, ok := lifetimes[token.Key]
		if ok && len(live.Data[token.Key]) > 0 && now.Before(lifetime.renewal(c.options.RotateAt, pod.UID)) {
			content.lifetimes[token.Key] = lifetime
		} else {
			due = append(due, token)
		}
	}
	if len(due) == 0 {
		return c.next(pod, content.lifetimes), nil
	}
	defer func() { c.options.Metrics.count(changeRenewed, err) }()
	failed := c.request(ctx, pod, due, content)
	if len(content.data) == 0 {
		return 0, failed
	}
	for key, lifetime := range lifetimes { // of those that failed
		if _, ok := content.lifetimes[key]; !ok {
			content.lifetimes[key] = lifetime
		}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid":         live.UID, // a condition: the API lets nobody change it
			"annotations": map[string]string{annotationLifetimes: encodeLifetimes(content.lifetimes)},
		},
		"data": content.data,
	})
	if err != nil {
		return 0, fmt.Errorf("encode patch of tokens %s: %w", live.Name, err)
	}
	made, err := c.options.Host.CoreV1().Secrets(env.HostNamespace).Patch(ctx, live.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		// Whatever stands there now is not what was patched: the cache decides.
		c.written.forget(live.Name)
		return 0, errors.Join(failed, fmt.Errorf("write host secret of tokens %s: %w", live.Name, err))
	}
	return c.wrote(pod, made, content.lifetimes), failed
}

// drop deletes the Secret of a pod that needs none any more. The tokens themselves end
// with the virtual pod, to which they are bound.
func (c *Controller) drop(ctx context.Context, live *corev1.Secret) error {
	if live == nil || live.DeletionTimestamp != nil {
		return nil
	}
	err := c.options.Host.CoreV1().Secrets(live.Namespace).Delete(ctx, live.Name, *metav1.NewPreconditionDeleteOptions(string(live.UID)))
	c.written.forget(live.Name)
	if apierrors.IsNotFound(err) {
		err = nil
	}
	c.options.Metrics.count(changeDropped, err)
	if err != nil {
		return fmt.Errorf("delete host secret of tokens %s: %w", live.Name, err)
	}
	return nil
}

// request asks the virtual cluster for tokens and puts what it gets into content.
func (c *Controller) request(ctx context.Context, pod *corev1.Pod, tokens []resources.Token, content *content) error {
	var failed error
	for _, token := range tokens {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &token.ExpirationSeconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		}}
		if token.Audience != "" {
			request.Spec.Audiences = []string{token.Audience}
		}
		answer, err := c.options.Virtual.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("request token of service account %s for volume %s: %w", pod.Spec.ServiceAccountName, token.Volume, err))
			continue
		}
		content.data[token.Key] = []byte(answer.Status.Token)
		content.lifetimes[token.Key] = granted(answer, c.options.Clock.Now())
	}
	return failed
}

func (c *Controller) wrote(pod *corev1.Pod, secret *corev1.Secret, lifetimes map[string]lifetime) time.Duration {
	c.written.set(secret, c.options.Clock.Now())
	return c.next(pod, lifetimes)
}

// next is the time until the first renewal.
func (c *Controller) next(pod *corev1.Pod, lifetimes map[string]lifetime) time.Duration {
	first := maxAge
	for _, lifetime := range lifetimes {
		first = min(first, lifetime.renewal(c.options.RotateAt, pod.UID).Sub(c.options.Clock.Now()))
	}
	return max(first, time.Second) // a life of nothing must not spin
}

// content is what one Secret gets: tokens and their lifetimes, by key.
type content struct {
	data      map[string][]byte
	lifetimes map[string]lifetime
}

func newContent() *content {
	return &content{data: map[string][]byte{}, lifetimes: map[string]lifetime{}}
}

func secretOf(env resource.Env, pod *corev1.Pod, content *content) *corev1.Secret {
	secret := resource.Stamp(env, resources.TokensKind, pod, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:      resources.TokenSecretName(env.Tenant, pod.Namespace, pod.Name),
			Namespace: env.HostNamespace,
		},
		Type: corev1.SecretTypeOpaque,
		Data: content.data,
	})
	annotations := maps.Clone(secret.Annotations)
	annotations[annotationLifetimes] = encodeLifetimes(content.lifetimes)
	secret.Annotations = annotations
	return secret
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// fromCache is an object of an informer's cache, nil if it has none.
func fromCache[T any](informer cache.SharedIndexInformer, key resource.Key) T {
	var none T
	item, ok, err := informer.GetStore().GetByKey(key.Namespace + "/" + key.Name)
	if err != nil || !ok {
		return none
	}
	object, _ := item.(T)
	return object
}

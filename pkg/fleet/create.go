package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/syncer/resource"
)

// CreateOptions say what to make.
type CreateOptions struct {
	// Deploy is what the tenant is; its Lifetime is set from TTL and IdleTTL.
	Deploy deploy.Options
	// TTL is how long the tenant lives from now on, and IdleTTL how long its API may go unused; 0 is no limit.
	TTL, IdleTTL time.Duration
	// CreateNamespace makes the host namespace if it does not exist. Nothing ever deletes it.
	CreateNamespace bool
	// NoWait returns once everything is applied, without a kubeconfig.
	NoWait bool
	// Timeout bounds the whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Progress is told what happens, if set.
	Progress func(Step)
}

// DefaultTimeout bounds what waits for a host.
const DefaultTimeout = 5 * time.Minute

// bounded is ctx for so long at most; 0 is DefaultTimeout.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

// Created is a tenant that was made, or found and made right.
type Created struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Existed says that the tenant was there before.
	Existed bool `json:"existed"`
	// ExpiresAt is zero if it lives until it is deleted; IdleTTL likewise.
	ExpiresAt time.Time     `json:"expiresAt,omitzero"`
	IdleTTL   time.Duration `json:"-"`
	// Server is the URL in the kubeconfig.
	Server string `json:"server,omitempty"`
	// Kubeconfig is its administrator's; nil without waiting.
	Kubeconfig []byte `json:"-"`
	// Took is how long it was until the tenant was usable.
	Took time.Duration `json:"-"`
}

// Create makes a tenant, or completes one that is half made, or brings one to what options say; and waits until it is
// usable: its API answers, and takes pods.
func (f *Fleet) Create(ctx context.Context, o CreateOptions) (*Created, error) {
	if o.TTL < 0 || o.IdleTTL < 0 {
		return nil, errors.New("a time to live below 0")
	}
	ctx, cancel := bounded(ctx, o.Timeout)
	defer cancel()
	p := begin(o.Progress)
	n := names(o.Deploy.Tenant, o.Deploy.Namespace)
	o.Deploy.Lifetime = deploy.Lifetime{IdleTTL: o.IdleTTL}
	if o.TTL > 0 {
		now, err := f.now(ctx)
		if err != nil {
			return nil, err
		}
		o.Deploy.Lifetime.ExpiresAt = now.Add(o.TTL)
	}
	objects, err := deploy.Objects(o.Deploy)
	if err != nil {
		return nil, err
	}
	if err := f.namespace(ctx, n.Namespace, o.CreateNamespace, p); err != nil {
		return nil, err
	}
	before, err := f.clear(ctx, n, objects, p)
	if err != nil {
		return nil, err
	}
	_, existed := before.items[index("StatefulSet", n.Namespace, n.Tenant)]
	created := &Created{Name: n.Tenant, Namespace: n.Namespace, Existed: existed, ExpiresAt: o.Deploy.Lifetime.ExpiresAt, IdleTTL: o.IdleTTL}
	if existed {
		if err := f.sameStorage(ctx, n, o.Deploy.Ephemeral); err != nil {
			return nil, err
		}
	}
	if err := f.removeElsewhere(ctx, n, o.Deploy.Config.Kubeconfigs); err != nil { // what it had and is not to have any more
		return nil, err
	}
	set, err := f.apply(ctx, n, objects, before)
	if err != nil {
		return nil, err
	}
	verb := "created"
	if existed {
		verb = "brought up to date"
	}
	p.step("%s %d objects of %s in namespace %s", verb, len(objects), n.Tenant, n.Namespace)
	if o.NoWait {
		return created, nil
	}
	kubeconfig, err := f.awaitUsable(ctx, n, set, p)
	if err != nil {
		return nil, err
	}
	created.Kubeconfig, created.Took = kubeconfig, time.Since(p.begin)
	created.Server, err = serverOf(kubeconfig)
	return created, err
}

// clear returns what is there of the tenant, once nothing of an earlier one of the name is left.
func (f *Fleet) clear(ctx context.Context, n deploy.Names, objects []deploy.Object, p *progress) (found, error) {
	for {
		var before found
		var workload, secrets []item
		err := concurrently(
			func() (err error) { before, err = f.survey(ctx, objects); return err },
			func() (err error) {
				workload, err = f.list(ctx, n.Namespace, resource.LabelTenant+"="+n.Tenant, workloadKinds())
				return err
			},
			func() (err error) { secrets, err = f.ownSecrets(ctx, n.Tenant, n.Namespace); return err },
		)
		if err == nil {
			err = before.claim(n, objects)
		}
		if err != nil {
			return found{}, err
		}
		remains := before.remains(n, append(workload, secrets...))
		if len(remains) == 0 {
			return before, nil
		}
		p.warn("waiting for what is left of an earlier %s: %s", n.Tenant, blocking(remains))
		if !pause(ctx, pollInterval) {
			return found{}, fmt.Errorf("an earlier tenant %q is not gone yet: %s", n.Tenant, blocking(remains))
		}
	}
}

// sameStorage refuses what Kubernetes would refuse with more words: where a tenant keeps its data is decided once.
func (f *Fleet) sameStorage(ctx context.Context, n deploy.Names, ephemeral bool) error {
	set, err := f.host.AppsV1().StatefulSets(n.Namespace).Get(ctx, n.Tenant, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return f.failed(fmt.Sprintf("read StatefulSet %q in namespace %q", n.Tenant, n.Namespace), err)
	}
	switch was := len(set.Spec.VolumeClaimTemplates) == 0; {
	case was && !ephemeral:
		return fmt.Errorf("tenant %q exists and is ephemeral, which cannot be changed: give --ephemeral, or delete it first", n.Tenant)
	case !was && ephemeral:
		return fmt.Errorf("tenant %q exists and has a volume, which cannot be changed: leave --ephemeral out, or delete it first", n.Tenant)
	}
	return nil
}

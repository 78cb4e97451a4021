package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
)

// DeleteOptions say what to remove.
type DeleteOptions struct {
	Tenant, Namespace string
	// KeepVolumes keeps the control plane's volume and those of the tenant's data.
	KeepVolumes bool
	// NoWait returns once everything is on its way out.
	NoWait bool
	// Timeout bounds the whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Progress is told what happens, if set.
	Progress func(Step)
}

// Deleted is what is left of a tenant.
type Deleted struct {
	// KeptVolumes are the names of the claims that stay.
	KeptVolumes []string `json:"keptVolumes,omitempty"`
}

// Delete removes everything of a tenant, whoever has installed it but Helm. The error is a *NotFoundError if there is
// nothing.
func (f *Fleet) Delete(ctx context.Context, o DeleteOptions) (*Deleted, error) {
	ctx, cancel := bounded(ctx, o.Timeout)
	defer cancel()
	p := begin(o.Progress)
	n := names(o.Tenant, o.Namespace)
	own, workload, err := f.everything(ctx, o.Tenant, o.Namespace)
	if err != nil {
		return nil, err
	}
	if all := slices.Concat(own, workload); !slices.ContainsFunc(all, func(one item) bool { return !kept(one) }) {
		return nil, f.absent(ctx, n, keptNames(all))
	}
	if err := helmOwns(n, own); err != nil {
		return nil, err
	}
	if o.KeepVolumes {
		if err := f.releaseVolumes(ctx, n, p); err != nil {
			return nil, err
		}
		if own, workload, err = f.everything(ctx, o.Tenant, o.Namespace); err != nil {
			return nil, err
		}
	}
	claimsGo, err := f.claimsGo(ctx, n)
	if err != nil {
		return nil, err
	}
	goes := slices.DeleteFunc(slices.Clone(own), func(one item) bool { return one.Resource == claims && !claimsGo })
	if err := f.removeElsewhere(ctx, n, nil); err != nil {
		return nil, err
	}
	stays, err := f.remove(ctx, n, goes)
	if err != nil {
		return nil, err
	}
	p.step("deleting %s from namespace %s", n.Tenant, n.Namespace)
	out := &Deleted{KeptVolumes: keptNames(slices.Concat(slices.DeleteFunc(own, func(item) bool { return claimsGo }), workload))}
	if !o.NoWait {
		if err := f.awaitGone(ctx, n, p, stays...); err != nil {
			return nil, err
		}
		p.step("%s is gone", n.Tenant)
	}
	if len(out.KeptVolumes) > 0 {
		p.step("kept volumes %s: %s", strings.Join(out.KeptVolumes, ", "), claimAdvice(n))
	}
	return out, leftBehind(n, stays)
}

// leftBehind is an error if the caller's rights end at the namespace, and the tenant had something beyond it.
func leftBehind(n deploy.Names, stays []item) error {
	if len(stays) == 0 {
		return nil
	}
	return fmt.Errorf("tenant %q is gone, but you may not delete what it had outside the namespace: kubectl delete clusterrolebinding,clusterrole %s", n.Tenant, n.ClusterRole())
}

// absent tells a missing tenant from a missing namespace, and from one whose names others use.
func (f *Fleet) absent(ctx context.Context, n deploy.Names, kept []string) error {
	_, err := f.host.CoreV1().ConfigMaps(n.Namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil { // not to be seen is not the same as not there
		return f.failed(fmt.Sprintf("look for tenant %q in namespace %q", n.Tenant, n.Namespace), err)
	}
	return &NotFoundError{Tenant: n.Tenant, Namespace: n.Namespace, KeptVolumes: kept}
}

func helmOwns(n deploy.Names, own []item) error {
	for _, one := range own {
		if release := one.Annotations["meta.helm.sh/release-name"]; release != "" && one.DeletionTimestamp == nil {
			return &HelmError{Tenant: n.Tenant, Release: release, Namespace: n.Namespace,
				Command: fmt.Sprintf("helm uninstall %s -n %s", release, one.Annotations["meta.helm.sh/release-namespace"])}
		}
	}
	return nil
}

// remove deletes a control plane. First the process loses its rights and its StatefulSet, so that it makes nothing any
// more of what goes; then the anchor takes with it all that it owns; the rest is what other ways to install have made
// without an owner. What is outside the namespace, and not for the caller to delete, stays.
func (f *Fleet) remove(ctx context.Context, n deploy.Names, own []item) (stays []item, err error) {
	first := func(one item) bool {
		return slices.Contains([]string{"rolebindings", "clusterrolebindings", "statefulsets"}, one.Resource)
	}
	var mu sync.Mutex
	var fence, rest []func() error
	for _, one := range own {
		remove := func() error {
			err := f.removeOne(ctx, n, one)
			if one.cluster && apierrors.IsForbidden(err) {
				mu.Lock()
				defer mu.Unlock()
				stays = append(stays, one)
				return nil
			}
			return f.failed("delete "+one.String(), err)
		}
		if first(one) {
			fence = append(fence, remove)
		} else {
			rest = append(rest, remove)
		}
	}
	if err := concurrently(fence...); err != nil {
		return nil, err
	}
	err = concurrently(rest...)
	return stays, err
}

func (f *Fleet) removeOne(ctx context.Context, n deploy.Names, one item) error {
	background := metav1.DeletePropagationBackground
	err := f.of(one.kind, n.Namespace).Delete(ctx, one.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &one.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // gone, or already another's
		return nil
	}
	return err
}

// awaitGone says what is left as it waits.
func (f *Fleet) awaitGone(ctx context.Context, n deploy.Names, p *progress, stays ...item) error {
	ignored := func(one item) bool {
		return kept(one) || slices.ContainsFunc(stays, func(other item) bool { return other.UID == one.UID })
	}
	const patience = 2 * time.Second // what takes no longer is nothing to speak of
	for begin := time.Now(); ; {
		own, workload, err := f.everything(ctx, n.Tenant, n.Namespace)
		left := slices.DeleteFunc(append(own, workload...), ignored)
		if err == nil && len(left) == 0 {
			return nil
		}
		if err == nil && time.Since(begin) > patience {
			p.warn("waiting for %s", blocking(left))
		}
		if !pause(ctx, pollInterval) {
			if err != nil {
				return err
			}
			return fmt.Errorf("tenant %q in namespace %q is not gone in time; what is left: %s", n.Tenant, n.Namespace, blocking(left))
		}
	}
}

// blocking names some of what is left, with what holds it, those that hold others first.
func blocking(left []item) string {
	const shown = 5
	left = slices.Clone(left)
	held := func(one item) int {
		switch {
		case len(one.Finalizers) > 0:
			return 0
		case one.Resource == "pods":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(left, func(a, b item) int {
		if a, b := held(a), held(b); a != b {
			return a - b
		}
		return strings.Compare(a.path(), b.path())
	})
	var words []string
	for _, one := range left[:min(len(left), shown)] {
		word := one.path()
		switch {
		case len(one.Finalizers) > 0:
			word += " (finalizers " + strings.Join(one.Finalizers, ", ") + ")"
		case one.Resource == "pods" && one.DeletionTimestamp != nil:
			word += " (terminating)"
		}
		words = append(words, word)
	}
	if more := len(left) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}

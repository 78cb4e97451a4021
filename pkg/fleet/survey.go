package fleet

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/pkg/deploy"
)

// TakenError means that a name of the tenant's is in use by something that is not a tenant's.
type TakenError struct {
	Object    string // Kind "name"
	Tenant    string
	Namespace string
}

func (e *TakenError) Error() string {
	where := fmt.Sprintf(" in namespace %q", e.Namespace)
	if e.Namespace == "" {
		where = ""
	}
	return fmt.Sprintf("%s%s exists and is not of a tenant %q (it lacks the label %s=%s): choose another name; nothing was changed",
		e.Object, where, e.Tenant, deploy.ControlPlaneLabel, e.Tenant)
}

// HelmError means that Helm has installed the tenant, and would undo what we do.
type HelmError struct {
	Tenant, Release, Namespace string
	// Command is what to use instead.
	Command string
}

func (e *HelmError) Error() string {
	return fmt.Sprintf("tenant %q was installed by Helm: use %s", e.Tenant, e.Command)
}

// found is what the host has under the names of a tenant's objects.
type found struct {
	items map[string]item // by kind, namespace and name
}

// index is how found names an object.
func index(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// survey looks at every object that would be applied.
func (f *Fleet) survey(ctx context.Context, objects []deploy.Object) (found, error) {
	out := found{items: map[string]item{}}
	var mu sync.Mutex
	var tasks []func() error
	for _, object := range objects {
		k := kindOf(object)
		tasks = append(tasks, func() error {
			live, err := f.of(k, object.GetNamespace()).Get(ctx, object.GetName(), metav1.GetOptions{})
			if err != nil { // what we may not see, the apply will tell
				return f.failed(fmt.Sprintf("read %s %q", k.name, object.GetName()), optional(err))
			}
			mu.Lock()
			defer mu.Unlock()
			out.items[index(k.name, live.Namespace, live.Name)] = item{k, live.ObjectMeta}
			return nil
		})
	}
	return out, concurrently(tasks...)
}

// kindOf guesses the resource of a kind as kubectl's conventions have it.
func kindOf(object deploy.Object) kind {
	gvk := object.GetObjectKind().GroupVersionKind()
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return kind{plural, gvk.Kind, object.GetNamespace() == ""}
}

// claim decides whether what was found is the tenant's: nobody else's, and not Helm's.
func (s found) claim(n deploy.Names, objects []deploy.Object) error {
	for _, object := range objects {
		live, ok := s.items[index(kindOf(object).name, object.GetNamespace(), object.GetName())]
		if !ok {
			continue
		}
		of, marked := live.Annotations[deploy.KubeconfigOfAnnotation]
		if live.Labels[deploy.ControlPlaneLabel] != n.Tenant || marked && of != n.KubeconfigOf() {
			return &TakenError{Object: live.String(), Tenant: n.Tenant, Namespace: live.Namespace}
		}
		if release := live.Annotations["meta.helm.sh/release-name"]; release != "" && live.DeletionTimestamp == nil {
			return &HelmError{Tenant: n.Tenant, Release: release, Namespace: n.Namespace,
				Command: fmt.Sprintf("helm upgrade %s -n %s", release, live.Annotations["meta.helm.sh/release-namespace"])}
		}
	}
	return nil
}

// remains are objects of an earlier tenant of the name that are on their way out: one that is taken over would go with
// them, and one that is applied now could be lost.
func (s found) remains(n deploy.Names, more []item) []item {
	anchor := s.liveAnchor(n)
	var out []item
	for _, one := range s.items {
		if one.DeletionTimestamp != nil || leaving(one.ObjectMeta, n, anchor) {
			out = append(out, one)
		}
	}
	for _, one := range more {
		if leaving(one.ObjectMeta, n, anchor) {
			out = append(out, one)
		}
	}
	return out
}

// liveAnchor is the UID of the anchor, if it is there to stay.
func (s found) liveAnchor(n deploy.Names) types.UID {
	anchor, ok := s.items[index("ConfigMap", n.Namespace, n.Anchor())]
	if !ok || anchor.DeletionTimestamp != nil || anchor.Annotations[deploy.ExpiredAnnotation] != "" {
		return ""
	}
	return anchor.UID
}

func leaving(object metav1.ObjectMeta, n deploy.Names, anchor types.UID) bool {
	if object.Name == n.Anchor() {
		return object.UID != anchor
	}
	owner, owned := anchorOf(object, n)
	return owned && owner != anchor
}

package leak_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// What a tenant writes, in any kind, reaches nothing on the host but what is the tenant's.
func TestNothingOnTheHostReachesOut(t *testing.T) {
	t.Parallel()
	meanings, kinds := known(t), registry()
	reached := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		f := newFiller(rapid.Uint64().Draw(t, "seed"), meanings)
		w := newWorld(f, kinds)
		for _, kind := range kinds {
			if kind.Direction != resource.ToHost {
				continue
			}
			for _, virtual := range w.virtual[kind.Resource.Resource] {
				host := w.Host(kind.Resource.Resource, naming.Host(tenantName, virtual.GetNamespace(), virtual.GetName()))
				if host == nil {
					continue
				}
				reached[kind.Name]++
				checkHost(t, w, kind, meanings, host)
				// And whatever the tenant makes of it later.
				again := f.object(kind)
				again.SetName(virtual.GetName())
				again.SetUID(virtual.GetUID())
				w.expect(kind, again)
				if changed := w.decide(kind, again, host); changed != nil {
					checkHost(t, w, kind, meanings, changed)
				}
			}
		}
	})
	for _, kind := range kinds {
		if kind.Direction == resource.ToHost && reached[kind.Name] == 0 {
			t.Errorf("no random %s has reached the host: the law was not tried", kind.Name)
		}
	}
}

// checkHost holds one host object against the law.
func checkHost(t *rapid.T, w *world, kind resource.Kind, meanings map[string]string, host resource.Object) {
	checkMeta(t, w, kind, host)
	bad := func(field string, value any) { t.Fatalf("%s: %s is %v on the host", kind.Name, field, value) }
	leaf := func(field, class string, value reflect.Value) { checkLeaf(w, field, class, value, bad) }
	if custom, ok := host.(*unstructured.Unstructured); ok {
		walkCustom(custom, kind, leaf, bad)
	} else {
		walkObject(host, meanings, leaf, func(meta metav1.ObjectMeta) { checkInnerMeta(meta, bad) })
	}
}

func checkMeta(t *rapid.T, w *world, kind resource.Kind, host resource.Object) {
	if host.GetNamespace() != hostNamespace || !w.translated[host.GetName()] {
		t.Fatalf("%s: is %s/%s on the host", kind.Name, host.GetNamespace(), host.GetName())
	}
	labels, annotations := host.GetLabels(), host.GetAnnotations()
	if labels[resource.LabelTenant] != tenantName || labels[resource.LabelNamespace] != space {
		t.Fatalf("%s: has the labels %v on the host", kind.Name, labels)
	}
	if annotations[resource.AnnotationIdentity] != "identity" || annotations[resource.AnnotationKind] != kind.Name || annotations[resource.AnnotationNamespace] != space {
		t.Fatalf("%s: has the annotations %v on the host", kind.Name, annotations)
	}
	if len(host.GetFinalizers()) > 0 {
		t.Fatalf("%s: has the finalizers %v on the host, where the tenant cannot take them off", kind.Name, host.GetFinalizers())
	}
	if owners := host.GetOwnerReferences(); len(owners) > 1 || !kind.Outlives && len(owners) == 0 || len(owners) == 1 && owners[0].UID != w.env.Owner.UID {
		t.Fatalf("%s: has the owners %v on the host", kind.Name, owners)
	}
	for key, value := range labels {
		if strings.HasPrefix(value, forged) && !strings.HasPrefix(key, resource.Prefix+"ns-") { // those are hashed
			t.Fatalf("%s: has the label %s=%s on the host", kind.Name, key, value)
		}
	}
	for key, value := range annotations {
		if strings.HasPrefix(value, forged) && !strings.HasPrefix(key, resource.Prefix+"downward-") {
			t.Fatalf("%s: has the annotation %s=%s on the host", kind.Name, key, value)
		}
	}
}

// checkInnerMeta is for metadata of objects that the host makes of this one.
func checkInnerMeta(meta metav1.ObjectMeta, bad func(string, any)) {
	for _, keys := range []map[string]string{meta.Labels, meta.Annotations} {
		for key, value := range keys {
			if strings.HasPrefix(value, forged) {
				bad(key+" of inner metadata", value)
			}
		}
	}
}

func checkLeaf(w *world, field, class string, value reflect.Value, bad func(string, any)) {
	text := ""
	if value.Kind() == reflect.String {
		text = value.String()
	}
	if strings.HasPrefix(text, referred) || strings.HasPrefix(text, forged) {
		bad(field, text) // whatever its class: what names another object does so nowhere else
	}
	switch class {
	case "":
		bad(field, "of a meaning that nobody has said")
	case classReference:
		if text != "" && !w.translated[text] {
			bad(field, text)
		}
	case classAccount:
		if text != "" && text != w.env.WorkloadServiceAccount && !w.translated[text] {
			bad(field, text)
		}
	case classNamespace:
		if text != "" && text != hostNamespace {
			bad(field, text)
		}
	case classFieldPath:
		if strings.HasPrefix(text, "metadata.") && !strings.HasPrefix(text, "metadata.annotations['"+resource.Prefix) {
			bad(field, text)
		}
	case classPods:
		if !confined(value) {
			bad(field, value)
		}
	case classNamespaces:
		bad(field, value)
	case classEndpoint:
		if text == nodeIP || text == podIP {
			bad(field, text)
		}
	case classNever:
		if !value.IsZero() {
			bad(field, value)
		}
	}
}

// confined reports whether a selector meets pods of this tenant only, and those of
// virtual namespaces that it names; or the tenant's control plane.
func confined(value reflect.Value) bool {
	var selector metav1.LabelSelector
	switch of := value.Interface().(type) {
	case metav1.LabelSelector:
		selector = of
	case map[string]string:
		if len(of) == 0 {
			return true
		}
		selector.MatchLabels = of
		return of[resource.LabelTenant] == tenantName && of[resource.LabelNamespace] == space
	default:
		return false
	}
	if len(selector.MatchLabels) == 1 && selector.MatchLabels[resource.LabelControlPlane] == tenantName && selector.MatchExpressions == nil {
		return true
	}
	if selector.MatchLabels[resource.LabelTenant] == tenantName {
		return true
	}
	return slices.ContainsFunc(selector.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
		return r.Key == resource.LabelTenant && r.Operator == metav1.LabelSelectorOpIn && slices.Equal(r.Values, []string{tenantName})
	})
}

package leak_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a tenant with one random object of every kind, and what the syncer makes of
// them on the host. Everything is referred to, so that everything goes.
type world struct {
	env           resource.Env
	kinds         []resource.Kind
	virtual, host map[string][]resource.Object // by plural
	// translated are the host names that fields may hold.
	translated map[string]bool
	rejected   int
}

// newWorld fills the virtual side and translates it.
func newWorld(f *filler, kinds []resource.Kind) *world {
	w := &world{kinds: kinds, virtual: map[string][]resource.Object{}, host: map[string][]resource.Object{}, translated: map[string]bool{}}
	w.env = resource.Env{
		Tenant: tenantName, HostNamespace: hostNamespace, Identity: "identity",
		Owner:         metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: tenantName + "-config", UID: "anchor"},
		ClusterDomain: "cluster.local", DNSIP: "10.96.0.53", APIServerIP: "10.96.0.77", APIServerPort: 443,
		WorkloadServiceAccount: tenantName + "-workload",
		ControlPlane:           resource.ControlPlane{APIPort: 8443, DNSPort: 5353},
		View:                   w, Now: now,
	}
	for _, name := range []string{space, otherSpace} {
		w.virtual["namespaces"] = append(w.virtual["namespaces"], &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: f.keys()}})
	}
	for _, kind := range kinds {
		if kind.Direction == resource.ToHost {
			w.virtual[kind.Resource.Resource] = []resource.Object{f.object(kind), f.object(kind)}
		}
	}
	w.host["nodes"] = []resource.Object{&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node"}, Spec: corev1.NodeSpec{PodCIDRs: []string{podIP + "/24"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeIP}}},
	}}
	w.connect()
	for _, kind := range kinds {
		for _, virtual := range w.virtual[kind.Resource.Resource] {
			w.expect(kind, virtual)
		}
	}
	for _, kind := range kinds {
		if kind.Direction != resource.ToHost {
			continue
		}
		for _, virtual := range w.virtual[kind.Resource.Resource] {
			host := w.decide(kind, virtual, nil)
			if host == nil {
				w.rejected++
				continue
			}
			host = host.DeepCopyObject().(resource.Object)
			host.SetUID(types.UID(f.word(hostUID)))
			host.SetCreationTimestamp(metav1.Time{Time: now})
			w.host[kind.Resource.Resource] = append(w.host[kind.Resource.Resource], host)
		}
	}
	return w
}

// connect gives the first Service the endpoints, which stay here without one.
func (w *world) connect() {
	service := w.virtual["services"][0].(*corev1.Service)
	service.Spec.Selector = nil
	for _, object := range w.virtual["endpoints"] {
		object.SetName(service.Name)
	}
	for _, object := range w.virtual["endpointslices"] {
		slice := object.(*discoveryv1.EndpointSlice)
		slice.AddressType = discoveryv1.AddressTypeIPv4
		slice.Labels[discoveryv1.LabelServiceName] = service.Name
	}
}

// decide is what the syncer would write to the host for a virtual object, whatever it
// waits for; nil if that is nothing.
func (w *world) decide(kind resource.Kind, virtual, host resource.Object) resource.Object {
	kind.Wait = func(resource.Env, resource.Object) string { return "" }
	var last resource.Object
	for _, action := range plan.Decide(w.env, kind, virtual, host).Actions {
		if action.Side == plan.Host && action.Want != nil {
			last = action.Want
		}
	}
	return last
}

// expect notes the translations of every string that a virtual object has.
func (w *world) expect(kind resource.Kind, virtual resource.Object) {
	note := func(name string) {
		for _, namespace := range []string{space, otherSpace} {
			w.translated[naming.Host(tenantName, namespace, name)] = true
			if kind.Name == "Pod" {
				w.translated[naming.Host(tenantName, namespace, virtual.GetName()+"-"+name)] = true // of ephemeral volumes
			}
		}
	}
	visitStrings(reflect.ValueOf(virtual), note)
	if kind.Name == "Pod" {
		w.translated[resources.TokenSecretName(tenantName, space, virtual.GetName())] = true
	}
}

// object is a virtual object of a kind as its author could have made it.
func (f *filler) object(kind resource.Kind) resource.Object {
	object := f.filled(kind)
	object.SetName(f.word("name"))
	if kind.Namespaced {
		object.SetNamespace(space)
	}
	object.SetUID(types.UID(f.word("virtualuid")))
	object.SetGeneration(1)
	object.SetCreationTimestamp(metav1.Time{Time: now})
	object.SetFinalizers([]string{"example.org/held"})
	object.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: f.word(referred), UID: types.UID(f.word("uid")), Controller: new(true)}})
	switch object := object.(type) {
	case *corev1.Pod:
		object.Spec.NodeName = ""
		object.Spec.Containers = append(object.Spec.Containers, corev1.Container{Name: "main", Image: f.word("w")})
		object.Status = corev1.PodStatus{Phase: corev1.PodPending}
		for _, containers := range [][]corev1.Container{object.Spec.InitContainers, object.Spec.Containers} {
			for i := range containers {
				dropBoth(&containers[i])
			}
		}
		for i := range object.Spec.EphemeralContainers {
			dropBoth((*corev1.Container)(&object.Spec.EphemeralContainers[i].EphemeralContainerCommon))
		}
	}
	return object
}

// dropBoth leaves each variable either a value or a source, never both.
func dropBoth(container *corev1.Container) {
	for i := range container.Env {
		if container.Env[i].ValueFrom != nil {
			container.Env[i].Value = ""
		}
	}
}

// filled is an object of a kind with all fields at random, but for its own metadata.
func (f *filler) filled(kind resource.Kind) resource.Object {
	object := kind.New()
	if custom, ok := object.(*unstructured.Unstructured); ok {
		f.fillCustom(custom, kind)
	} else {
		f.fillStruct(reflect.ValueOf(object).Elem())
	}
	object.SetLabels(f.keys())
	object.SetAnnotations(f.keys())
	return object
}

// visitStrings calls visit with every string of a value.
func visitStrings(value reflect.Value, visit func(string)) {
	switch value.Kind() {
	case reflect.String:
		visit(value.String())
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			visitStrings(value.Elem(), visit)
		}
	case reflect.Slice:
		for i := range value.Len() {
			visitStrings(value.Index(i), visit)
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			visitStrings(key, visit)
			visitStrings(value.MapIndex(key), visit)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				visitStrings(value.Field(i), visit)
			}
		}
	}
}

func (w *world) Virtual(plural string, key resource.Key) resource.Object {
	return find(w.virtual[plural], key.Namespace, key.Name)
}

func (w *world) VirtualList(plural, namespace string) []resource.Object {
	return slices.DeleteFunc(slices.Clone(w.virtual[plural]), func(object resource.Object) bool {
		return namespace != "" && object.GetNamespace() != namespace
	})
}

func (w *world) Host(plural, name string) resource.Object {
	for _, object := range w.host[plural] {
		if object.GetName() == name {
			return object
		}
	}
	return nil
}

func (w *world) HostList(plural string) []resource.Object { return slices.Clone(w.host[plural]) }

func (w *world) Named(hostName string) resource.Object {
	for _, kind := range w.kinds {
		if object := w.Host(kind.Resource.Resource, hostName); object != nil && kind.Direction == resource.ToHost {
			return object
		}
	}
	return nil
}

func (w *world) Departed(string, string) (virtual, host resource.Object) { return nil, nil }

func (w *world) Referenced(string, resource.Key) bool { return true }

func (w *world) Created(types.UID) bool { return false }

func find(objects []resource.Object, namespace, name string) resource.Object {
	for _, object := range objects {
		if object.GetNamespace() == namespace && object.GetName() == name {
			return object
		}
	}
	return nil
}

// hostWords are what the host knows of a world's tenant.
func (w *world) hostWords() *hostWords {
	words := &hostWords{kinds: map[resource.Object]resource.Kind{}}
	for _, kind := range w.kinds {
		if kind.Direction == resource.ToHost {
			for _, host := range w.host[kind.Resource.Resource] {
				words.objects = append(words.objects, host)
				words.kinds[host] = kind
			}
		}
	}
	return words
}

// phraseAbout is how the host speaks of objects: by kind, by name and namespace, as a path.
func phraseAbout(names ...string) func(*filler) string {
	return func(f *filler) string {
		name := pick(f, names...)
		return pick(f,
			fmt.Sprintf("%s %q not found", f.word("w"), name),
			fmt.Sprintf("cannot get %s/%s", hostNamespace, name),
			fmt.Sprintf("%s in namespace %q: failed", name, hostNamespace),
			fmt.Sprintf("%s is gone", name),
			fmt.Sprintf("no quota in namespace %s", hostNamespace),
			fmt.Sprintf("lookup %s.%s.svc: no such host", name, hostNamespace),
		)
	}
}

// referredNames are a virtual object's own name, and those of what it refers to, as the
// host has them.
func (w *world) referredNames(kind resource.Kind, virtual resource.Object) []string {
	names := map[string]bool{naming.Host(tenantName, virtual.GetNamespace(), virtual.GetName()): true}
	for _, ref := range kind.Refs(virtual) {
		if ref.Namespace != "" {
			names[naming.Host(tenantName, ref.Namespace, ref.Name)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

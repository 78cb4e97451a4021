// Package golden reads and checks golden cases of kinds: testdata/<kind>/<case>.txtar,
// an archive with the objects that both sides hold and the plan that must follow.
//
//	-- virtual.yaml --   the virtual object (absent: there is none)
//	-- host.yaml --      its host object; with the annotation golden/ours it gets the name and
//	                     the marks that this tenant's own translation carries
//	-- world/virtual.yaml, world/host.yaml --   other objects that translation reads
//	-- world/references --   "configmaps/ns/name" lines: what virtual objects refer to
//	-- world/created --      UIDs whose host object this process made
//	-- world/policy.yaml --   what the operator says about pods: see operator
//	-- plan --           the expected Plan.String()
//	-- want.yaml --      the objects that the plan's creates and patches want, in order
//
// go test -update rewrites plan and want.yaml.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Env is the tenant of every golden case.
func Env(view *World) resource.Env {
	return resource.Env{
		Tenant: "team-a", HostNamespace: "tenants", Identity: "identity-1",
		Owner:         metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "team-a-anchor", UID: "anchor-1"},
		ClusterDomain: "cluster.local", DNSIP: "10.96.0.53", APIServerIP: "10.96.0.77", APIServerPort: 443,
		WorkloadServiceAccount: "team-a-workload", ControlPlane: resource.ControlPlane{APIPort: 8443, DNSPort: 1053},
		View: view,
		Now:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// World is a resource.View of literal objects.
type World struct {
	VirtualObjects []resource.Object
	HostObjects    []resource.Object
	References     map[string]bool // "configmaps/ns/name"
	Made           map[types.UID]bool
	// LeftVirtual and LeftHost have departed a moment ago.
	LeftVirtual, LeftHost []resource.Object
}

func (w *World) Virtual(plural string, key resource.Key) resource.Object {
	return find(w.VirtualObjects, plural, func(o resource.Object) bool { return resource.KeyOf(o) == key })
}

func (w *World) VirtualList(plural, namespace string) []resource.Object {
	var out []resource.Object
	for _, object := range w.VirtualObjects {
		if Plural(object) == plural && (namespace == "" || object.GetNamespace() == namespace) {
			out = append(out, object)
		}
	}
	return out
}

func (w *World) Host(plural, name string) resource.Object {
	return find(w.HostObjects, plural, func(o resource.Object) bool { return o.GetName() == name })
}

func (w *World) HostList(plural string) []resource.Object {
	var out []resource.Object
	for _, object := range w.HostObjects {
		if Plural(object) == plural {
			out = append(out, object)
		}
	}
	return out
}

func (w *World) Named(hostName string) resource.Object {
	for _, objects := range [][]resource.Object{w.HostObjects, w.LeftHost} {
		for _, object := range objects {
			if object.GetName() == hostName && object.GetAnnotations()[resource.AnnotationIdentity] != "" {
				return object
			}
		}
	}
	return nil
}

func (w *World) Departed(plural, name string) (virtual, host resource.Object) {
	host = find(w.LeftHost, plural, func(o resource.Object) bool { return o.GetName() == name })
	if host == nil {
		return nil, nil
	}
	key, _ := resource.VirtualKey(host)
	return find(w.LeftVirtual, plural, func(o resource.Object) bool { return resource.KeyOf(o) == key }), host
}

func (w *World) Referenced(plural string, key resource.Key) bool {
	return w.References[plural+"/"+key.Namespace+"/"+key.Name]
}

func (w *World) Created(uid types.UID) bool { return w.Made[uid] }

func find(objects []resource.Object, plural string, match func(resource.Object) bool) resource.Object {
	for _, object := range objects {
		if Plural(object) == plural && match(object) {
			return object
		}
	}
	return nil
}

// Plural is the resource name of an object's kind.
func Plural(object resource.Object) string {
	if custom, ok := object.(*unstructured.Unstructured); ok {
		plural, _ := meta.UnsafeGuessKindToResource(custom.GroupVersionKind())
		return plural.Resource
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		panic(err)
	}
	plural, _ := meta.UnsafeGuessKindToResource(kinds[0])
	return plural.Resource
}

// Run checks every case of kind under testdata/<plural of kind>.
func Run(t *testing.T, kind resource.Kind) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", kind.Resource.Resource, "*.txtar"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3, "a kind has at least three golden cases")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { check(t, kind, file) })
	}
}

// Case is the observation of a golden case.
type Case struct {
	World         *World
	Env           resource.Env    // of that world, with what the operator says
	Virtual, Host resource.Object // nil: there is none
}

// Load reads the observation of a case, and what the file expects.
func Load(t *testing.T, kind resource.Kind, file string) (Case, *txtar.Archive) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	require.NoError(t, err)
	world := &World{References: map[string]bool{}, Made: map[types.UID]bool{}}
	env := Env(world)
	var virtual, host resource.Object
	for _, f := range archive.Files {
		switch f.Name {
		case "virtual.yaml":
			virtual = decode(t, string(f.Data))
			world.VirtualObjects = append(world.VirtualObjects, virtual)
		case "host.yaml":
			host = decode(t, string(f.Data))
			world.HostObjects = append(world.HostObjects, host)
		case "world/virtual.yaml":
			for _, document := range documents(string(f.Data)) {
				world.VirtualObjects = append(world.VirtualObjects, decode(t, document))
			}
		case "world/host.yaml":
			for _, document := range documents(string(f.Data)) {
				world.HostObjects = append(world.HostObjects, decode(t, document))
			}
		case "world/policy.yaml":
			env.Policy.Pods = operator(t, f.Data)
		case "world/references", "world/created":
			for _, line := range strings.Fields(string(f.Data)) {
				if f.Name == "world/created" {
					world.Made[types.UID(line)] = true
				} else {
					world.References[line] = true
				}
			}
		}
	}
	// A host.yaml without identity is shorthand for the stamped translation's metadata.
	if host != nil && virtual != nil && kind.Direction == resource.ToHost && host.GetAnnotations()["golden/ours"] != "" {
		annotations := host.GetAnnotations()
		delete(annotations, "golden/ours")
		host.SetAnnotations(annotations)
		host.SetName(naming.Host(env.Tenant, virtual.GetNamespace(), virtual.GetName()))
		host.SetNamespace(env.HostNamespace)
		resource.Stamp(env, kind.Name, virtual, host)
	}
	return Case{World: world, Env: env, Virtual: virtual, Host: host}, archive
}

func check(t *testing.T, kind resource.Kind, file string) {
	read, archive := Load(t, kind, file)
	virtual, host, env := read.Virtual, read.Host, read.Env
	sections := map[string]string{}
	for _, f := range archive.Files {
		sections[f.Name] = string(f.Data)
	}
	before := encode(t, virtual, host)
	got := plan.Decide(env, kind, virtual, host)
	if diff := cmp.Diff(before, encode(t, virtual, host)); diff != "" {
		t.Errorf("Decide changed its arguments (-before +after):\n%s", diff)
	}
	var wants []resource.Object
	for _, action := range got.Actions {
		if action.Want != nil {
			wants = append(wants, action.Want)
		}
	}
	results := []txtar.File{{Name: "plan", Data: []byte(got.String())}, {Name: "want.yaml", Data: []byte(encode(t, wants...))}}
	if *update {
		kept := archive.Files[:0:0]
		for _, f := range archive.Files {
			if f.Name != "plan" && f.Name != "want.yaml" {
				kept = append(kept, f)
			}
		}
		archive.Files = append(kept, results...)
		require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o644))
		return
	}
	for _, result := range results {
		if diff := cmp.Diff(sections[result.Name], string(result.Data)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", result.Name, diff)
		}
	}
}

// operator reads a policy about pods; refuseImages says why pods with an image may not run.
func operator(t *testing.T, text []byte) resource.PodPolicy {
	t.Helper()
	var policy struct {
		NodeSelector  map[string]string
		Tolerations   []corev1.Toleration
		RuntimeClass  string
		PriorityClass string
		RefuseImages  map[string]string
	}
	require.NoError(t, yaml.UnmarshalStrict(text, &policy))
	return resource.PodPolicy{
		NodeSelector: policy.NodeSelector, Tolerations: policy.Tolerations,
		RuntimeClass: policy.RuntimeClass, PriorityClass: policy.PriorityClass,
		Refuse: func(pod *corev1.Pod) *resource.Rejection {
			for _, container := range pod.Spec.Containers {
				if why, ok := policy.RefuseImages[container.Image]; ok {
					return resource.Rejectf("PodRefused", "%s", why)
				}
			}
			for _, container := range pod.Spec.EphemeralContainers {
				if why, ok := policy.RefuseImages[container.Image]; ok {
					return resource.Rejectf("PodRefused", "%s", why)
				}
			}
			return nil
		},
	}
}

func documents(text string) []string {
	var out []string
	for document := range strings.SplitSeq(text, "\n---\n") {
		if strings.TrimSpace(document) != "" {
			out = append(out, document)
		}
	}
	return out
}

func decode(t *testing.T, text string) resource.Object {
	t.Helper()
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(text), nil, nil)
	if runtime.IsNotRegisteredError(err) { // a custom resource
		custom := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(text), &custom.Object))
		return custom
	}
	require.NoError(t, err)
	result, ok := object.(resource.Object)
	require.True(t, ok)
	return result
}

func encode(t *testing.T, objects ...resource.Object) string {
	t.Helper()
	var out []string
	for _, object := range objects {
		if object == nil {
			continue
		}
		data, err := yaml.Marshal(object)
		require.NoError(t, err)
		out = append(out, string(data))
	}
	return strings.Join(out, "---\n")
}

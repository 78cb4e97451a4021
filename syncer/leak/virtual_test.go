package leak_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

// What the host says of a tenant's object comes to the tenant without a name of the host's.
func TestNothingOfTheHostComesBack(t *testing.T) {
	t.Parallel()
	meanings, kinds := known(t), registry()
	came := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		f := newFiller(rapid.Uint64().Draw(t, "seed"), meanings)
		w := newWorld(f, kinds)
		for _, kind := range kinds {
			if kind.Direction != resource.ToHost {
				continue
			}
			for i, virtual := range w.virtual[kind.Resource.Resource] {
				if i >= len(w.host[kind.Resource.Resource]) {
					continue
				}
				words := w.hostWords()
				words.phrase = phraseAbout(w.referredNames(kind, virtual)...)
				teller := &filler{rand: f.rand, meanings: meanings, count: f.count, host: words}
				host := w.host[kind.Resource.Resource][i].DeepCopyObject().(resource.Object)
				teller.fillStatus(kind, host)
				w.host[kind.Resource.Resource][i] = host
				for _, want := range w.comesBack(kind, virtual, host) {
					came[kind.Name]++
					checkVirtual(t, kind, want)
				}
				checkText(t, kind, kind.Words(w.env, virtual, words.phrase(teller)))
			}
		}
	})
	for _, kind := range kinds {
		if kind.Direction == resource.ToHost && kind.HasStatus && came[kind.Name] == 0 {
			t.Logf("nothing comes back of a random %s", kind.Name)
		}
	}
}

// Mirrors of the host's own objects name nothing of the host namespace, and nothing of
// other tenants.
func TestMirrorsNameNothingOfTheHost(t *testing.T) {
	t.Parallel()
	meanings, kinds := known(t), registry()
	made := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		f := newFiller(rapid.Uint64().Draw(t, "seed"), meanings)
		w := newWorld(f, kinds)
		words := w.hostWords()
		var names []string
		for _, object := range words.objects {
			names = append(names, object.GetName())
		}
		words.phrase = phraseAbout(names...)
		teller := &filler{rand: f.rand, meanings: meanings, count: f.count, host: words}
		for _, kind := range kinds {
			if kind.Direction == resource.FromHost {
				for range 3 {
					w.host[kind.Resource.Resource] = append(w.host[kind.Resource.Resource], teller.hostObject(kind))
				}
			}
		}
		for _, kind := range kinds {
			if kind.Direction != resource.FromHost {
				continue
			}
			for _, host := range w.sources(kind) {
				key, ok := kind.VirtualKey(w.env, host)
				if !ok {
					continue
				}
				checkText(t, kind, key.Namespace+"/"+key.Name)
				for _, want := range w.comesBack(kind, nil, host) {
					made[kind.Name]++
					checkVirtual(t, kind, want)
					mirror := want.DeepCopyObject().(resource.Object)
					changed := teller.hostObject(kind)
					changed.SetName(host.GetName())
					for _, want := range w.comesBack(kind, mirror, changed) {
						checkVirtual(t, kind, want)
					}
				}
			}
		}
	})
	for _, kind := range kinds {
		if kind.Direction == resource.FromHost && made[kind.Name] == 0 {
			t.Errorf("no random %s was mirrored: the law was not tried", kind.Name)
		}
	}
}

// sources are the host objects that mirrors of a kind are made of: those that are read,
// and those that are made of others.
func (w *world) sources(kind resource.Kind) []resource.Object {
	out := w.HostList(kind.Resource.Resource)
	if kind.Make == nil {
		return out
	}
	names := map[string]bool{}
	for plural, named := range kind.Sources {
		for _, object := range w.host[plural] {
			for _, name := range named(object) {
				names[name] = true
			}
		}
	}
	for name := range names {
		if made := kind.Make(w.env, name); made != nil {
			out = append(out, made)
		}
	}
	return out
}

// comesBack is what the syncer would write to the virtual side.
func (w *world) comesBack(kind resource.Kind, virtual, host resource.Object) []resource.Object {
	kind.Wait = func(resource.Env, resource.Object) string { return "" }
	var out []resource.Object
	for _, action := range plan.Decide(w.env, kind, virtual, host).Actions {
		if action.Side == plan.Virtual && action.Want != nil {
			out = append(out, action.Want)
		}
	}
	return out
}

// hostObject is an object of the host's own.
func (f *filler) hostObject(kind resource.Kind) resource.Object {
	object := f.filled(kind)
	object.SetName(f.word("cluster"))
	if kind.Namespaced {
		object.SetNamespace(hostNamespace)
	}
	if event, ok := object.(*corev1.Event); ok {
		event.Name = event.InvolvedObject.Name + "." + f.word("w")
		event.InvolvedObject.FieldPath = ""
	}
	if volume, ok := object.(*corev1.PersistentVolume); ok && volume.Spec.ClaimRef != nil {
		object = withClaim(volume, volume.Spec.ClaimRef.Name)
	}
	object.SetUID(types.UID(f.word(hostUID)))
	object.SetCreationTimestamp(metav1.Time{Time: now})
	object.SetAnnotations(map[string]string{f.word("w"): f.text(classMessage)}) // notes of the host's agents
	object.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: f.word(foreign), UID: types.UID(f.word(hostUID))}})
	return object
}

// withClaim is a volume that was provisioned for the host claim of that name.
func withClaim(volume *corev1.PersistentVolume, claim string) *corev1.PersistentVolume {
	data, err := json.Marshal(volume)
	if err != nil {
		panic(err)
	}
	out := &corev1.PersistentVolume{}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), boundClaim, claim)), out); err != nil {
		panic(err)
	}
	return out
}

// fillStatus is the host at work on an object of ours.
func (f *filler) fillStatus(kind resource.Kind, host resource.Object) {
	if custom, ok := host.(*unstructured.Unstructured); ok {
		filled := &unstructured.Unstructured{Object: map[string]any{}}
		f.fillCustom(filled, kind)
		if status, ok := filled.Object["status"]; ok {
			custom.Object["status"] = status
		}
		return
	}
	status := reflect.ValueOf(host).Elem().FieldByName("Status")
	if !status.IsValid() {
		return
	}
	status.SetZero()
	f.fill(status, "")
	if pod, ok := host.(*corev1.Pod); ok {
		pod.Status.Phase = pick(f, corev1.PodPending, corev1.PodRunning)
		var own []corev1.ContainerStatus
		for _, container := range pod.Spec.Containers {
			var told corev1.ContainerStatus
			f.fill(reflect.ValueOf(&told).Elem(), "")
			told.Name = container.Name
			own = append(own, told)
		}
		pod.Status.ContainerStatuses = own
	}
}

func checkVirtual(t *rapid.T, kind resource.Kind, virtual resource.Object) {
	data, err := json.MarshalIndent(virtual, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		checkText(t, kind, line)
	}
}

// checkText wants a text without any word that only the host knows.
func checkText(t *rapid.T, kind resource.Kind, text string) {
	for _, word := range []string{tenantName + "-", hostNamespace, foreign, hostUID} {
		if strings.Contains(text, word) {
			t.Fatalf("%s: the tenant reads %s", kind.Name, fmt.Sprintf("%.300q", strings.TrimSpace(text)))
		}
	}
}

package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources/golden"
)

// notes is the simplest kind there can be: ConfigMaps whose data goes to the host and
// whose key "answer" comes back. Data tells it what to do: "skip", "wait" and "reject".
func notes() resource.Kind {
	return resource.Spec[*corev1.ConfigMap]{
		Resource: corev1.SchemeGroupVersion.WithResource("configmaps"), Kind: "ConfigMap",
		Namespaced: true, Direction: resource.ToHost, NoStatus: true,
		New:    func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		Select: func(_ resource.Env, v *corev1.ConfigMap) bool { return v.Data["skip"] == "" },
		Wait:   func(_ resource.Env, v *corev1.ConfigMap) string { return v.Data["wait"] },
		ToHost: func(env resource.Env, v *corev1.ConfigMap) (*corev1.ConfigMap, error) {
			if v.Data["reject"] != "" {
				return nil, resource.Rejectf("Unfit", "%s", v.Data["reject"])
			}
			return &corev1.ConfigMap{ObjectMeta: resource.HostMeta(env, v), Data: map[string]string{"text": v.Data["text"]}}, nil
		},
		MergeHost: func(_ resource.Env, desired, live *corev1.ConfigMap) *corev1.ConfigMap {
			live.Data = merged(live.Data, desired.Data)
			return live
		},
		Replace: func(desired, live *corev1.ConfigMap) bool {
			return live.Data["text"] == "fixed" && desired.Data["text"] != "fixed"
		},
		MergeVirtual: func(_ resource.Env, virtual, host *corev1.ConfigMap) *corev1.ConfigMap {
			if answer := host.Data["answer"]; answer != "" {
				virtual.Data = merged(virtual.Data, map[string]string{"answer": answer})
			}
			return virtual
		},
	}.Erase()
}

// mirrors shows the host's notes in the virtual cluster.
func mirrors() resource.Kind {
	return resource.Spec[*corev1.ConfigMap]{
		Resource: corev1.SchemeGroupVersion.WithResource("configmaps"), Kind: "ConfigMap",
		Namespaced: true, Direction: resource.FromHost, NoStatus: true,
		New:    func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		Select: func(_ resource.Env, h *corev1.ConfigMap) bool { return h.Data["skip"] == "" },
		ToVirtual: func(_ resource.Env, h *corev1.ConfigMap) (*corev1.ConfigMap, error) {
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.Namespace, Name: h.Name}, Data: h.Data}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *corev1.ConfigMap) *corev1.ConfigMap {
			virtual.Data = host.Data
			return virtual
		},
	}.Erase()
}

func merged(base, over map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{base, over} {
		for key, value := range m {
			out[key] = value
		}
	}
	return out
}

var env = golden.Env(&golden.World{})

func note(data ...string) *corev1.ConfigMap {
	out := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "note", UID: "note-1"}, Data: map[string]string{}}
	for i := 0; i < len(data); i += 2 {
		out.Data[data[i]] = data[i+1]
	}
	return out
}

// hosted is the host object of a note, changed by changes.
func hosted(virtual *corev1.ConfigMap, changes ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
	out := &corev1.ConfigMap{ObjectMeta: resource.HostMeta(env, virtual), Data: map[string]string{"text": virtual.Data["text"]}}
	out.UID = "host-1"
	out.CreationTimestamp = metav1.Time{Time: env.Now.Add(-time.Hour)}
	resource.Stamp(env, "ConfigMap", virtual, out)
	for _, change := range changes {
		change(out)
	}
	return out
}

func annotated(key, value string) func(*corev1.ConfigMap) {
	return func(object *corev1.ConfigMap) {
		object.Annotations = merged(object.Annotations, map[string]string{key: value})
		if value == "" {
			delete(object.Annotations, key)
		}
	}
}

func deleting(object *corev1.ConfigMap) {
	object.DeletionTimestamp = &metav1.Time{Time: env.Now}
}

func created(ago time.Duration) func(*corev1.ConfigMap) {
	return func(object *corev1.ConfigMap) { object.CreationTimestamp = metav1.Time{Time: env.Now.Add(-ago)} }
}

func with(object *corev1.ConfigMap, changes ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
	for _, change := range changes {
		change(object)
	}
	return object
}

func TestDecideToHost(t *testing.T) {
	t.Parallel()
	name := naming.Host("team-a", "default", "note")
	for title, test := range map[string]struct {
		virtual, host *corev1.ConfigMap
		want          string
	}{
		"nothing on either side is contentment": {},
		"a new object is created": {
			virtual: note("text", "a"), want: "create host " + name + ": new\n",
		},
		"an object that does not take part is not created":       {virtual: note("skip", "yes")},
		"an object that waits is not created, and says for what": {virtual: note("wait", "rain"), want: "wait: rain\n"},
		"an object that can't be translated tells its user": {
			virtual: note("reject", "too long"), want: "event Warning Unfit: too long\n",
		},
		"an object on its way out is not created": {virtual: with(note(), deleting)},
		"two sides that agree are contentment":    {virtual: note("text", "a"), host: hosted(note("text", "a"))},
		"what differs is written": {
			virtual: note("text", "b"), host: hosted(note("text", "a")), want: "patch host " + name + ": virtual object differs\n",
		},
		"what the host owns comes back": {
			virtual: note("text", "a"), host: hosted(note("text", "a"), func(o *corev1.ConfigMap) { o.Data["answer"] = "42" }),
			want: "patch virtual note: host side differs\n",
		},
		"what others put on the host object stays": {
			virtual: note("text", "a"), host: hosted(note("text", "a"), annotated("example.com/x", "y")),
		},
		"marks that someone takes off are put back": {
			virtual: note("text", "a"), host: hosted(note("text", "a"), func(o *corev1.ConfigMap) { o.Labels = nil }),
			want: "patch host " + name + ": virtual object differs\n",
		},
		"waiting is for creation only": {
			virtual: note("text", "a", "wait", "rain"), host: hosted(note("text", "a")),
		},
		"an object that can't be translated any more keeps its host object": {
			virtual: note("text", "b", "reject", "too long"), host: hosted(note("text", "a")), want: "event Warning Unfit: too long\n",
		},
		"what can't be changed in place is deleted first": {
			virtual: note("text", "b"), host: hosted(note("text", "fixed")),
			want: "delete host " + name + ": can't be changed in place\n",
		},
		"an object that stops taking part leaves the host": {
			virtual: note("skip", "yes"), host: hosted(note()), want: "delete host " + name + ": no longer needed on the host\n",
		},
		"and leaves it once": {virtual: note("skip", "yes"), host: hosted(note(), deleting)},
		"a virtual object held by finalizers keeps its host object up to date": {
			virtual: with(note("text", "b"), deleting), host: hosted(note("text", "a")),
			want: "patch host " + name + ": virtual object differs\n",
		},
		"an orphan is deleted":      {host: hosted(note()), want: "delete host " + name + ": virtual object is gone\n"},
		"an orphan is deleted once": {host: hosted(note(), deleting)},
		"a namesake's host object goes before ours comes": {
			virtual: note("text", "a"), host: hosted(note("text", "a"), annotated(resource.AnnotationUID, "note-0")),
			want: "delete host " + name + ": virtual object is gone\n",
		},
		"an object of the host's own is left alone, and the user told": {
			virtual: note("text", "b"), host: with(note("text", "a")),
			want: "event Warning HostNameTaken: not synced: on the host, an object that is not this cluster's has the name that this one would get; delete it there, or use another name here\n",
		},
		"an object of the host's own is not deleted": {host: note()},
		"an object of an earlier database is not ours": {
			host: hosted(note(), annotated(resource.AnnotationIdentity, "identity-0")),
		},
		"an object derived from another kind is not ours": {
			host: hosted(note(), annotated(resource.AnnotationKind, "Pod/tokens")),
		},
		"an object made in admission waits for its virtual object": {
			host: hosted(note(), annotated(resource.AnnotationUID, ""), created(time.Second)),
			want: "wait: the virtual object may still be in admission\n",
		},
		"an object made in admission does not wait for ever": {
			host: hosted(note(), annotated(resource.AnnotationUID, ""), created(10*time.Minute)),
			want: "delete host " + name + ": virtual object is gone\n",
		},
		"an object made in admission belongs to who comes": {
			virtual: note("text", "a"), host: hosted(note("text", "a"), annotated(resource.AnnotationUID, ""), created(time.Second)),
			want: "patch host " + name + ": virtual object differs\n",
		},
		"a change that is being admitted is not taken back": {
			virtual: with(note("text", "old"), version("7")),
			host:    hosted(note("text", "new"), annotated(resource.AnnotationAdmission, "7 2026-01-02T03:04:00Z")),
		},
		"nor is what it needs on the host": {
			virtual: with(note("skip", "yet"), version("7")),
			host:    hosted(note("text", "new"), annotated(resource.AnnotationAdmission, "7 2026-01-02T03:04:00Z")),
		},
		"nor when the change before it is not known here yet": {
			virtual: with(note("text", "oldest"), version("9")),
			host:    hosted(note("text", "new"), annotated(resource.AnnotationAdmission, "10 2026-01-02T03:04:00Z")),
		},
		"a version that is none of etcd's says nothing": {
			virtual: with(note("text", "old"), version("7")),
			host:    hosted(note("text", "new"), annotated(resource.AnnotationAdmission, "x 2026-01-02T03:04:00Z")),
			want:    "patch host " + name + ": virtual object differs\n",
		},
		"a change that was admitted is what the virtual object says": {
			virtual: with(note("text", "newest"), version("8")),
			host:    hosted(note("text", "new"), annotated(resource.AnnotationAdmission, "7 2026-01-02T03:04:00Z")),
			want:    "patch host " + name + ": virtual object differs\n",
		},
		"a change that came to nothing is taken back in the end": {
			virtual: with(note("text", "old"), version("7")),
			host:    hosted(note("text", "new"), annotated(resource.AnnotationAdmission, "7 2026-01-02T03:00:00Z")),
			want:    "patch host " + name + ": virtual object differs\n",
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			check(t, notes(), test.virtual, test.host, test.want)
		})
	}
}

func version(version string) func(*corev1.ConfigMap) {
	return func(object *corev1.ConfigMap) { object.ResourceVersion = version }
}

func TestDecideFromHost(t *testing.T) {
	t.Parallel()
	mirror := func(data ...string) *corev1.ConfigMap {
		return with(note(data...), annotated(resource.AnnotationMirror, "true"))
	}
	for title, test := range map[string]struct {
		virtual, host *corev1.ConfigMap
		want          string
	}{
		"nothing on either side is contentment":        {},
		"a host object is mirrored":                    {host: note("text", "a"), want: "create virtual note: mirror of a new host object\n"},
		"a host object that does not take part is not": {host: note("skip", "yes")},
		"two sides that agree are contentment":         {virtual: mirror("text", "a"), host: note("text", "a")},
		"the host's changes follow": {
			virtual: mirror("text", "a"), host: note("text", "b"), want: "patch virtual note: host side differs\n",
		},
		"a mirror goes with its host object":     {virtual: mirror(), want: "delete virtual note: host object is gone\n"},
		"a mirror goes once":                     {virtual: with(mirror(), deleting)},
		"the tenant's own object is not touched": {virtual: note("text", "a"), host: note("text", "b")},
		"the tenant's own object does not go":    {virtual: note("text", "a")},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			check(t, mirrors(), test.virtual, test.host, test.want)
		})
	}
}

func check(t *testing.T, kind resource.Kind, virtual, host *corev1.ConfigMap, want string) {
	t.Helper()
	before := [2]*corev1.ConfigMap{virtual.DeepCopy(), host.DeepCopy()}
	var v, h resource.Object // nil interfaces where there is no object
	if virtual != nil {
		v = virtual
	}
	if host != nil {
		h = host
	}
	got := plan.Decide(env, kind, v, h)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, [2]*corev1.ConfigMap{virtual, host}); diff != "" {
		t.Errorf("Decide changed what it was given (-before +after):\n%s", diff)
	}
	for _, action := range got.Actions {
		if action.Live != nil && action.Live.GetUID() == types.UID("") {
			t.Errorf("%s of an object without a UID", action.Verb)
		}
	}
}

func TestDecideLooksAgainWhenAdmissionIsOver(t *testing.T) {
	t.Parallel()
	got := plan.Decide(env, notes(), nil, hosted(note(), annotated(resource.AnnotationUID, ""), created(30*time.Second)))
	if want := time.Minute; got.RequeueAfter != want {
		t.Errorf("looks again after %s, want %s", got.RequeueAfter, want)
	}
}

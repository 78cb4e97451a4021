package engine

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/apply"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

const (
	// ReasonHostLacksField tells of what the host does not keep.
	ReasonHostLacksField = "HostLacksField"
	// ReasonStatusNotKnown tells of a status that this cluster does not take.
	ReasonStatusNotKnown = "HostStatusNotKnown"
	// futileFor is how long a patch that changed nothing is not tried again.
	futileFor = 10 * time.Minute
	// notesMost bounds what is remembered of one kind; what is forgotten is tried, or
	// told, once more.
	notesMost = 4096
	// reductions is how often what a server refuses of a status is taken off.
	reductions = 3
)

// patch brings an object to what is wanted of it, in a world where two versions of the API
// meet: a patch that the host took and did not keep is not written again, and a status is
// written without what the virtual API refuses. Done is false when nothing was sent.
func (e *Engine) patch(ctx context.Context, kind *syncedKind, virtual resource.Object, action plan.Action) (done bool, err error) {
	patch, err := apply.Patch(kind.Kind, action.Live, action.Want)
	if err != nil || patch == nil {
		return false, err
	}
	key := string(action.Side) + "/" + action.Subresource + "/" + string(action.Live.GetUID())
	change := apply.Change(patch)
	if kind.futile.Is(key, change, e.options.Now()) {
		return false, nil
	}
	if action.Side == plan.Host {
		after := kind.New()
		if err := kind.host.patch(ctx, action.Live, action.Subresource, patch, after); err != nil {
			return true, err
		}
		if sameButCounters(after, action.Live) {
			kind.futile.Note(key, change, e.options.Now())
			e.tell(kind, virtual, ReasonHostLacksField, "the host cluster takes but does not keep: ", apply.Paths(patch))
		}
		return true, nil
	}
	err = kind.virtual.patch(ctx, action.Live, action.Subresource, patch, nil)
	if action.Subresource != "status" || !apierrors.IsInvalid(err) {
		return true, err
	}
	return true, e.patchWhatIsTaken(ctx, kind, key, change, action, err)
}

// sameButCounters compares what two states of an object say. That it was written at all
// may be counted: some kinds count a generation for a change that they drop.
func sameButCounters(a, b resource.Object) bool {
	if a.GetResourceVersion() == b.GetResourceVersion() {
		return a.GetUID() == b.GetUID()
	}
	bare := func(object resource.Object) resource.Object {
		out := object.DeepCopyObject().(resource.Object)
		out.SetResourceVersion("")
		out.SetGeneration(0)
		out.SetManagedFields(nil)
		return out
	}
	return equality.Semantic.DeepEqual(bare(a), bare(b))
}

// patchWhatIsTaken writes a status without what the virtual API refuses of it: a value
// that a newer host knows must not keep everything else from the tenant.
func (e *Engine) patchWhatIsTaken(ctx context.Context, kind *syncedKind, key string, change []byte, action plan.Action, refusal error) error {
	want, refused := action.Want, []string{}
	for attempt := range reductions {
		paths := refusedPaths(refusal)
		var left bool
		if want, left = apply.Without(action.Live, want, paths, attempt > 0); !left {
			return refusal
		}
		refused = append(refused, paths...)
		rest, err := apply.Patch(kind.Kind, action.Live, want)
		if err != nil {
			return err
		}
		if rest == nil { // all the rest is there already
			kind.futile.Note(key, change, e.options.Now())
			break
		}
		refusal = kind.virtual.patch(ctx, action.Live, action.Subresource, rest, nil)
		if refusal == nil {
			break
		}
		if !apierrors.IsInvalid(refusal) || attempt == reductions-1 {
			return refusal
		}
	}
	slices.Sort(refused)
	klog.FromContext(ctx).V(2).Info("Status of the host is not all taken", "kind", kind.Name, "namespace", action.Live.GetNamespace(), "name", action.Live.GetName(), "fields", slices.Compact(refused))
	e.tell(kind, action.Live, ReasonStatusNotKnown, "the host's status has values that this cluster does not take; they are left out: ", slices.Compact(refused))
	return nil
}

// refusedPaths are the fields that an Invalid error names.
func refusedPaths(err error) []string {
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Details == nil {
		return nil
	}
	var out []string
	for _, cause := range status.Status().Details.Causes {
		if strings.HasPrefix(cause.Field, "status") {
			out = append(out, cause.Field)
		}
	}
	return out
}

// tellLost tells an object's user, once, what the host does not know of it.
func (e *Engine) tellLost(kind *syncedKind, virtual resource.Object) {
	if virtual == nil || kind.Direction != resource.ToHost {
		return
	}
	if lost := e.skew.pruner(kind.Kind).Find(virtual); len(lost) > 0 && kind.Select(e.Env(), virtual) {
		e.tell(kind, virtual, ReasonHostLacksField, hostLacks, lost)
	}
}

const hostLacks = "the host cluster is older than this one and does not know these fields, which have no effect: "

// tell emits an event about fields of an object, unless it was the last that was told of it.
func (e *Engine) tell(kind *syncedKind, virtual resource.Object, reason, message string, fields []string) {
	if virtual == nil || len(fields) == 0 {
		return
	}
	text := message + strings.Join(fields, ", ")
	if kind.told.Is(reason+"/"+string(virtual.GetUID()), []byte(text), e.options.Now()) {
		return
	}
	kind.told.Note(reason+"/"+string(virtual.GetUID()), []byte(text), e.options.Now())
	e.options.Metrics.skewed.WithLabelValues(kind.Name, reason).Inc()
	e.options.Recorder.Event(virtual, corev1.EventTypeWarning, reason, text)
}

// notes are contents by key, each with its time.
type notes struct {
	keep time.Duration // 0: for ever

	mu      sync.Mutex
	entries map[string]note
}

type note struct {
	sum [sha256.Size]byte
	at  time.Time
}

// Is reports whether content is what was noted last.
func (n *notes) Is(key string, content []byte, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	entry, ok := n.entries[key]
	return ok && entry.sum == sha256.Sum256(content) && (n.keep == 0 || now.Sub(entry.at) < n.keep)
}

// Note replaces what was noted.
func (n *notes) Note(key string, content []byte, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.entries == nil || len(n.entries) >= notesMost {
		n.entries = map[string]note{}
	}
	n.entries[key] = note{sum: sha256.Sum256(content), at: now}
}

// Clear forgets everything.
func (n *notes) Clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entries = nil
}

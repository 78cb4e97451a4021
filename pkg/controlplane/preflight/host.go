package preflight

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/resource"
)

const (
	// askTimeout bounds one question: a host that takes longer is taken for one that
	// does not answer.
	askTimeout = 3 * time.Second
	// turnTimeout is how long a pod waits for those before it.
	turnTimeout = 5 * time.Second
	// recount is how long a host that may have counted too few is given before it is asked again.
	recount = 200 * time.Millisecond
	// failures in a row are what tells that the host does not answer.
	failures = 3
	// pause is how long the host is not asked then.
	pause = 5 * time.Second
)

// Trial is one write to the host that can be asked about; engine.Trial is one.
type Trial interface {
	// Do asks the host, by a dry run, and returns the object as the host would have it.
	Do(ctx context.Context) (host resource.Object, warnings []string, err error)
	// Words is a text of the host in the tenant's words.
	Words(text string) string
}

// Translator knows what an object becomes on the host; the syncer is one.
type Translator interface {
	// Tries tells resources of which there are trials, and their version.
	Tries(resource schema.GroupResource) (schema.GroupVersion, bool)
	// Trials are the writes that an object on its way would lead to; old is what it was,
	// nil if it is new.
	Trials(ctx context.Context, resource schema.GroupResource, virtual, old resource.Object) ([]Trial, error)
	// Arrived reports whether an object has its host object.
	Arrived(resource schema.GroupResource, virtual resource.Object) bool
	// HostObjects are what this cluster has on the host of a resource. They are not changed.
	HostObjects(resource schema.GroupResource) []resource.Object
}

// HostOptions configure a Host.
type HostOptions struct {
	// Translator is the current one, nil as long as there is none.
	Translator func() Translator
	// Quotas of the host namespace. Nil: there may be any, so that no verdict serves a
	// second pod.
	Quotas *Quotas
	// Now is the clock; nil is the real one.
	Now func() time.Time
	// Observe is told what became of an object, in a word, and how long that took. Nil:
	// nobody is.
	Observe func(resource schema.GroupResource, verdict string, took time.Duration)
}

// Host is a Judge that asks the host by dry runs.
type Host struct {
	options  HostOptions
	breaker  *breaker
	verdicts *verdicts
}

var _ Judge = &Host{}

// NewHost is a Judge. It starts nothing.
func NewHost(options HostOptions) *Host {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Observe == nil {
		options.Observe = func(schema.GroupResource, string, time.Duration) {}
	}
	return &Host{
		options:  options,
		breaker:  &breaker{failures: failures, pause: pause, now: options.Now},
		verdicts: newVerdicts(options.Now),
	}
}

// spared are the resources about which the host is not asked: they are written often, by
// controllers, and the host has next to nothing to say against them; or, as Services, they
// are asked about elsewhere.
func spared() []schema.GroupResource {
	return []schema.GroupResource{
		{Resource: "configmaps"}, {Resource: "secrets"}, {Resource: "services"},
		{Resource: "endpoints"}, {Group: "discovery.k8s.io", Resource: "endpointslices"},
		{Resource: "events"}, {Resource: "serviceaccounts"},
	}
}

// Version is part of Judge.
func (h *Host) Version(gr schema.GroupResource) (schema.GroupVersion, bool) {
	translator := h.options.Translator()
	if translator == nil || slices.Contains(spared(), gr) {
		return schema.GroupVersion{}, false
	}
	return translator.Tries(gr)
}

// Judge is part of Judge.
func (h *Host) Judge(ctx context.Context, object Object) (warnings []string, refusal error) {
	translator := h.options.Translator()
	if translator == nil {
		return nil, nil
	}
	ask := func() answer { return h.askAll(ctx, translator, object) }
	start := h.options.Now()
	var out answer
	if pod, ok := object.Virtual.(*corev1.Pod); !ok || object.Old != nil || object.DryRun || h.options.Quotas == nil {
		out = ask()
	} else {
		out = h.depart(ctx, pod, hostSide{translator, object.Resource}, ask)
	}
	h.options.Observe(object.Resource, out.outcome.String(), h.options.Now().Sub(start))
	return out.warnings, out.refusal
}

// depart asks about a new pod, or knows the answer from a sibling. One that could be too
// many for a quota is asked about again when it is its turn and nobody is under way.
func (h *Host) depart(ctx context.Context, pod *corev1.Pod, side hostSide, ask func() answer) answer {
	quotas := h.options.Quotas
	arrived := func() bool { return side.Arrived(side.resource, pod) }
	out := h.verdicts.Get(ctx, fingerprint(pod), ask)
	if out.outcome != passes || out.host == nil || quotas.Depart(pod.UID, out.host, arrived, side.pods) {
		return out
	}
	waiting, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	done, ok := quotas.Turn(waiting)
	defer done()
	if !ok {
		return out // an event tells, should it be too many
	}
	// A host that takes it may have counted too few: it counts again, sooner or later, and has
	// the last word when the time is over.
	_ = wait.PollUntilContextCancel(waiting, recount, true, func(context.Context) (bool, error) {
		out = ask()
		return out.outcome != passes || out.host == nil || quotas.Fits(out.host, side.pods()), nil
	})
	if out.outcome == passes && out.host != nil {
		quotas.Force(pod.UID, out.host, arrived)
	}
	return out
}

// hostSide is a resource as it is on the host.
type hostSide struct {
	Translator
	resource schema.GroupResource
}

func (s hostSide) pods() []*corev1.Pod {
	var out []*corev1.Pod
	for _, host := range s.HostObjects(s.resource) {
		if pod, ok := host.(*corev1.Pod); ok {
			out = append(out, pod)
		}
	}
	return out
}

// askAll asks about every write that an object on its way would lead to, until one is
// refused.
func (h *Host) askAll(ctx context.Context, translator Translator, object Object) answer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	gr, virtual := object.Resource, object.Virtual
	trials, err := translator.Trials(ctx, gr, virtual, object.Old)
	var rejection *resource.Rejection
	if errors.As(err, &rejection) {
		return answer{outcome: refused, refusal: apierrors.NewForbidden(gr, virtual.GetName(), errors.New(rejection.Message))}
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "Object can't be translated; its preflight is left out", "resource", gr, "namespace", virtual.GetNamespace(), "name", virtual.GetName())
		return answer{outcome: untold}
	}
	var out answer
	for _, trial := range trials {
		next := h.ask(ctx, trial)
		next.warnings = append(out.warnings, next.warnings...)
		if out = next; out.outcome != passes {
			break
		}
	}
	return out
}

// answer is what the host says, in the tenant's words.
type answer struct {
	outcome  outcome
	host     *corev1.Pod // as the host would have it; nil of other kinds, and where it did not say
	warnings []string
	refusal  error
}

func (h *Host) ask(ctx context.Context, trial Trial) answer {
	if h.breaker.Open() {
		return answer{outcome: absent}
	}
	host, warnings, err := trial.Do(ctx)
	out := answer{outcome: verdictOf(err)}
	if err == nil {
		out.host, _ = host.(*corev1.Pod)
	}
	h.breaker.Report(out.outcome != absent)
	for _, warning := range warnings {
		out.warnings = append(out.warnings, trial.Words(warning))
	}
	switch out.outcome {
	case refused:
		out.refusal = refusalOf(err, trial.Words)
	case untold:
		if ctx.Err() == nil {
			out.warnings = append(out.warnings, "the host cluster could not tell in advance whether it will take this; if it does not, an event says so")
		}
	}
	return out
}

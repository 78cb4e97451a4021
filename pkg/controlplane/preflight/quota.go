package preflight

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/quota/v1/evaluator/core"
	"k8s.io/utils/clock"
)

const (
	// landing is how long a pod that was let pass may take to its host pod, before it is
	// not waited for any more: it may never have been written, or wait for something.
	landing = 2 * time.Second
	// settled is how long after it a quota's status, as we watch it, counts the host pod.
	settled = time.Second
	// look is how often pods under way are looked for.
	look = 10 * time.Millisecond
)

// Quotas are the ResourceQuotas of the host namespace, and the pods under way that they do
// not count yet. A dry run takes nothing from a quota: of ten replicas at once, each alone
// may fit, where all together do not. So a pod that could be one too many is asked about
// when those before it have their host pods.
type Quotas struct {
	known     Cache
	evaluator quota.Evaluator
	now       func() time.Time
	turn      chan struct{} // held while a pod is asked about that could be one too many

	mu      sync.Mutex
	flights map[types.UID]*flight // by virtual UID
}

// flight is a pod under way to the host.
type flight struct {
	pod     *corev1.Pod // as the host would have it
	arrived func() bool
	left    time.Time
	landed  time.Time // zero until its host pod was seen
}

// Cache is the part of an informer that is needed here.
type Cache interface {
	GetStore() cache.Store
	HasSynced() bool
}

// NewQuotas knows the ResourceQuotas in an informer's cache. It starts nothing.
func NewQuotas(known Cache, now func() time.Time) *Quotas {
	return &Quotas{
		known: known, now: now, turn: make(chan struct{}, 1),
		evaluator: core.NewPodEvaluator(nil, clock.RealClock{}), flights: map[types.UID]*flight{},
	}
}

// Depart notes that a pod is let pass, as the host would have it, unless it could be one
// too many, counting all that are under way and what own says that we have on the host.
func (q *Quotas) Depart(uid types.UID, pod *corev1.Pod, arrived func() bool, own func() []*corev1.Pod) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.track()
	limits, known := q.about(pod)
	switch {
	case !known:
		return false
	case len(limits) == 0:
		return true
	case !q.fits(limits, pod, q.underWayPods(true), used) || !q.fits(limits, pod, append(q.underWayPods(false), own()...), nothing):
		return false
	}
	q.flights[uid] = &flight{pod: pod, arrived: arrived, left: q.now()}
	return true
}

// Force notes that a pod is let pass in any case.
func (q *Quotas) Force(uid types.UID, pod *corev1.Pod, arrived func() bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if limits, known := q.about(pod); !known || len(limits) > 0 {
		q.flights[uid] = &flight{pod: pod, arrived: arrived, left: q.now()}
	}
}

// Fits reports whether a pod fits into all quotas beside our own pods on the host. A status
// may count fewer: upstream's quota controller overwrites what admission has counted, where
// it has not seen a new pod yet, and counts again when the next pod ends.
func (q *Quotas) Fits(pod *corev1.Pod, own []*corev1.Pod) bool {
	limits, known := q.about(pod)
	return known && q.fits(limits, pod, own, nothing)
}

// about is the quotas that are about a host pod, where they are known.
func (q *Quotas) about(pod *corev1.Pod) (limits []*corev1.ResourceQuota, known bool) {
	for _, item := range q.known.GetStore().List() {
		if item, ok := item.(*corev1.ResourceQuota); ok && q.matches(item, pod) {
			limits = append(limits, item)
		}
	}
	return limits, q.known.HasSynced()
}

// matches is true where it cannot be known.
func (q *Quotas) matches(limits *corev1.ResourceQuota, pod *corev1.Pod) bool {
	matches, err := q.evaluator.Matches(limits, pod)
	return err != nil || matches
}

func used(limits *corev1.ResourceQuota) corev1.ResourceList { return limits.Status.Used }

func nothing(*corev1.ResourceQuota) corev1.ResourceList { return nil }

// fits reports whether a pod fits into quotas, beside other pods and what is counted anyway.
func (q *Quotas) fits(limits []*corev1.ResourceQuota, pod *corev1.Pod, others []*corev1.Pod, counted func(*corev1.ResourceQuota) corev1.ResourceList) bool {
	usage, err := q.evaluator.Usage(pod)
	if err != nil {
		return false
	}
	for _, limits := range limits {
		wanted := quota.Add(counted(limits), usage)
		for _, other := range others {
			if !q.matches(limits, other) {
				continue
			}
			if more, err := q.evaluator.Usage(other); err == nil {
				wanted = quota.Add(wanted, more)
			}
		}
		names := q.evaluator.MatchingResources(quota.ResourceNames(limits.Spec.Hard))
		// What a new quota's status does not count yet is not known to fit.
		uncounted := quota.Difference(names, quota.ResourceNames(limits.Status.Hard))
		if within, _ := quota.LessThanOrEqual(quota.Mask(wanted, names), limits.Status.Hard); !within || len(uncounted) > 0 {
			return false
		}
	}
	return true
}

// underWayPods are the pods under way, with or without those that were seen to land, which
// a quota's status may not count yet.
func (q *Quotas) underWayPods(landed bool) []*corev1.Pod {
	var out []*corev1.Pod
	for _, flight := range q.flights {
		if landed || flight.landed.IsZero() {
			out = append(out, flight.pod)
		}
	}
	return out
}

// Turn waits until this caller is the only one to ask about a pod that could be one too
// many, and all pods that were let pass are there. It gives up with ctx. The turn ends
// with done.
func (q *Quotas) Turn(ctx context.Context) (done func(), ok bool) {
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		return func() {}, false
	}
	done = func() { <-q.turn }
	tick := time.NewTicker(look)
	defer tick.Stop()
	for q.underWay() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return done, false
		}
	}
	return done, true
}

func (q *Quotas) underWay() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.track()
	for _, flight := range q.flights {
		if flight.landed.IsZero() {
			return true
		}
	}
	return false
}

// track notes who has landed, and forgets those that the quotas count by now and those
// that nobody waits for any more.
func (q *Quotas) track() {
	now := q.now()
	for uid, flight := range q.flights {
		switch {
		case !flight.landed.IsZero():
			if now.Sub(flight.landed) > settled {
				delete(q.flights, uid)
			}
		case flight.arrived():
			flight.landed = now
		case now.Sub(flight.left) > landing:
			delete(q.flights, uid)
		}
	}
}

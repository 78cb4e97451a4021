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
	informer  cache.SharedIndexInformer
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

// NewQuotas follows the quotas in an informer's cache. It starts nothing.
func NewQuotas(informer cache.SharedIndexInformer, now func() time.Time) *Quotas {
	return &Quotas{
		informer: informer, now: now, turn: make(chan struct{}, 1),
		evaluator: core.NewPodEvaluator(nil, clock.RealClock{}), flights: map[types.UID]*flight{},
	}
}

// Depart notes that a pod is let pass, as the host would have it, unless it could be one
// too many, counting all that are under way. With force it is noted in any case.
func (q *Quotas) Depart(uid types.UID, pod *corev1.Pod, arrived func() bool, force bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.track()
	bound, fits := q.room(pod)
	if !fits && !force {
		return false
	}
	if bound {
		q.flights[uid] = &flight{pod: pod, arrived: arrived, left: q.now()}
	}
	return true
}

// room tells whether any quota is about a host pod, and whether it fits into all of them.
func (q *Quotas) room(pod *corev1.Pod) (bound, fits bool) {
	usage, err := q.evaluator.Usage(pod)
	if err != nil || !q.informer.HasSynced() {
		return true, false
	}
	for _, item := range q.informer.GetStore().List() {
		limits, ok := item.(*corev1.ResourceQuota)
		if !ok {
			continue
		}
		if matches, err := q.evaluator.Matches(limits, pod); err == nil && !matches {
			continue
		}
		bound = true
		names := q.evaluator.MatchingResources(quota.ResourceNames(limits.Spec.Hard))
		wanted := quota.Add(limits.Status.Used, usage)
		for _, flight := range q.flights {
			if matches, err := q.evaluator.Matches(limits, flight.pod); err == nil && !matches {
				continue
			}
			if more, err := q.evaluator.Usage(flight.pod); err == nil {
				wanted = quota.Add(wanted, more)
			}
		}
		// What a new quota's status does not count yet is not known to fit.
		uncounted := quota.Difference(names, quota.ResourceNames(limits.Status.Hard))
		if within, _ := quota.LessThanOrEqual(quota.Mask(wanted, names), limits.Status.Hard); !within || len(uncounted) > 0 {
			return true, false
		}
	}
	return bound, true
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

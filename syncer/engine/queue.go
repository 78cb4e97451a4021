package engine

import (
	"time"

	"k8s.io/client-go/util/workqueue"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/work"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 30 * time.Second
	// urgentRun is how many urgent keys in a row may pass before one of the others:
	// the fast lane must not stop the road.
	urgentRun = 8
)

type queue = work.Queue

// newQueue is a queue that takes turns between namespaces, so that one with ten
// thousand pods does not delay another's first, and in which urgent keys overtake.
func newQueue(urgent func(resource.Key) bool) queue {
	typed := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[resource.Key]{
		Queue: &fair{urgent: urgent, lanes: map[string][]resource.Key{}},
	})
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[resource.Key]{Queue: typed})
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[resource.Key](firstRetry, lastRetry),
		workqueue.TypedRateLimitingQueueConfig[resource.Key]{DelayingQueue: delaying},
	)
}

// fair is a workqueue.Queue: round robin over namespaces, with a lane for urgent
// keys. The workqueue calls it under its own lock.
type fair struct {
	urgent func(resource.Key) bool
	fast   []resource.Key
	run    int // urgent keys taken since the last other one
	lanes  map[string][]resource.Key
	turns  []string // namespaces with a lane that is not empty, in their order
	length int
}

func (q *fair) Touch(resource.Key) {}

func (q *fair) Len() int { return q.length }

func (q *fair) Push(key resource.Key) {
	q.length++
	if q.urgent(key) {
		q.fast = append(q.fast, key)
		return
	}
	if len(q.lanes[key.Namespace]) == 0 {
		q.turns = append(q.turns, key.Namespace)
	}
	q.lanes[key.Namespace] = append(q.lanes[key.Namespace], key)
}

func (q *fair) Pop() resource.Key {
	q.length--
	if len(q.fast) > 0 && (q.run < urgentRun || len(q.turns) == 0) {
		key := q.fast[0]
		q.fast = q.fast[1:]
		q.run++
		return key
	}
	q.run = 0
	namespace := q.turns[0]
	q.turns = q.turns[1:]
	lane := q.lanes[namespace]
	key := lane[0]
	if len(lane) == 1 {
		delete(q.lanes, namespace)
	} else {
		q.lanes[namespace] = lane[1:]
		q.turns = append(q.turns, namespace)
	}
	return key
}

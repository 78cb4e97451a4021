package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"nestling.dev/nestling/syncer/resource"
)

func TestNamespacesTakeTurnsAndUrgentKeysOvertake(t *testing.T) {
	t.Parallel()
	q := &fair{urgent: func(k resource.Key) bool { return k.Name == "deleted" }, lanes: map[string][]resource.Key{}}
	for _, name := range []string{"1", "2", "3"} {
		q.Push(resource.Key{Namespace: "crowded", Name: name})
	}
	q.Push(resource.Key{Namespace: "quiet", Name: "1"})
	q.Push(resource.Key{Namespace: "crowded", Name: "deleted"})
	var got []string
	for q.Len() > 0 {
		key := q.Pop()
		got = append(got, key.Namespace+"/"+key.Name)
	}
	want := []string{"crowded/deleted", "crowded/1", "quiet/1", "crowded/2", "crowded/3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestUrgentKeysDoNotStopTheOthers(t *testing.T) {
	t.Parallel()
	q := &fair{urgent: func(k resource.Key) bool { return k.Namespace == "doomed" }, lanes: map[string][]resource.Key{}}
	for range 3 * urgentRun {
		q.Push(resource.Key{Namespace: "doomed"})
	}
	q.Push(resource.Key{Namespace: "alive"})
	for taken := range urgentRun + 1 {
		if q.Pop().Namespace == "alive" {
			if taken != urgentRun {
				t.Errorf("the other key came after %d urgent ones, not after %d", taken, urgentRun)
			}
			return
		}
	}
	t.Errorf("the other key did not come after %d urgent ones", urgentRun)
}

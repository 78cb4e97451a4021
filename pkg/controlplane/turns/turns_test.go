package turns

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

func TestOneTurnOfAKeyAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all turns
		var mu sync.Mutex
		var group sync.WaitGroup
		inside, most := map[string]int{}, map[string]int{}
		for range 20 {
			for _, key := range []string{"a", "b"} {
				group.Go(func() {
					defer all.take(t.Context(), key, time.Hour)()
					mu.Lock()
					inside[key]++
					inside["any"]++
					most[key], most["any"] = max(most[key], inside[key]), max(most["any"], inside["any"])
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					inside[key]--
					inside["any"]--
					mu.Unlock()
				})
			}
		}
		group.Wait()
		require.Equal(t, map[string]int{"a": 1, "b": 1, "any": 2}, most)
		require.Empty(t, all.keys, "nothing is kept of keys that nobody writes")
	})
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all turns
		give := all.take(t.Context(), "a", time.Second)
		start := time.Now()
		without := all.take(t.Context(), "a", 5*time.Second)
		require.Equal(t, 5*time.Second, time.Since(start))
		ended, end := context.WithCancel(t.Context())
		end()
		gone := all.take(ended, "a", 5*time.Second)
		require.Equal(t, 5*time.Second, time.Since(start), "a request that has ended does not wait")
		gone()
		without()
		give()
		require.Empty(t, all.keys)
		all.take(t.Context(), "a", 0)()
	})
}

// late is a storage whose cache has not seen the last write yet, as upstream's in
// k8s.io/apiserver/pkg/storage/etcd3: an update that fails with what is suggested is tried
// again with what there is, if that is another.
type late struct {
	storage.Interface
	cached, stored string
	onUpdate       func()
}

func (l *late) Versioner() storage.Versioner { return storage.APIObjectVersioner{} }

func (l *late) Get(_ context.Context, _ string, _ storage.GetOptions, out runtime.Object) error {
	out.(*corev1.Service).ResourceVersion = l.stored
	return nil
}

func (l *late) GuaranteedUpdate(_ context.Context, _ string, _ runtime.Object, _ bool, _ *storage.Preconditions, update storage.UpdateFunc, _ runtime.Object) error {
	if l.onUpdate != nil {
		l.onUpdate()
	}
	err := l.try(l.cached, update)
	if err != nil && l.cached != l.stored {
		err = l.try(l.stored, update)
	}
	return err
}

func (l *late) try(version string, update storage.UpdateFunc) error {
	number, err := storage.APIObjectVersioner{}.ParseResourceVersion(version)
	if err != nil {
		return err
	}
	_, _, err = update(&corev1.Service{}, storage.ResponseMeta{ResourceVersion: number})
	return err
}

func TestAnUpdateIsComputedOnceAndFromWhatThereIs(t *testing.T) {
	t.Parallel()
	for name, upstream := range map[string]*late{
		"the cache is late":          {cached: "3", stored: "5"},
		"the cache is not late":      {cached: "5", stored: "5"},
		"somebody writes in between": {cached: "3", stored: "4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if upstream.stored == "4" {
				upstream.onUpdate = func() { upstream.cached, upstream.stored = "5", "5" }
			}
			o := &ordered{Interface: upstream, newObject: func() runtime.Object { return &corev1.Service{} }}
			var computed []uint64
			err := o.GuaranteedUpdate(t.Context(), "a", nil, false, nil, func(existing runtime.Object, meta storage.ResponseMeta) (runtime.Object, *uint64, error) {
				computed = append(computed, meta.ResourceVersion)
				return existing, nil, nil
			}, nil)
			require.NoError(t, err)
			require.Equal(t, []uint64{5}, computed)
			require.Empty(t, o.turns.keys)
		})
	}
}

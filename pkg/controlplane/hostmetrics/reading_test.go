package hostmetrics

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// host counts what it is asked.
type host struct {
	mu    sync.Mutex
	asked int
	err   error
	takes time.Duration
}

func (h *host) read(ctx context.Context) (int, error) {
	h.mu.Lock()
	h.asked++
	number, err := h.asked, h.err
	h.mu.Unlock()
	select {
	case <-time.After(h.takes):
		return number, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func TestManyWhoAskAreOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := &host{takes: time.Second}
		shared := reading[int]{read: asked.read, now: time.Now}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				value, err := shared.get(t.Context())
				require.NoError(t, err)
				require.Equal(t, 1, value)
			})
		}
		all.Wait()
		require.Equal(t, 1, asked.asked)
	})
}

func TestAnAnswerServesForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := &host{}
		shared := reading[int]{read: asked.read, now: time.Now}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {maxAge - 1, 1}, {1, 2}, {maxAge - 1, 2}, {time.Hour, 3}} {
			time.Sleep(step.after) // the bubble's clock
			value, err := shared.get(t.Context())
			require.NoError(t, err)
			require.Equal(t, step.want, value)
		}
	})
}

func TestARefusalIsNotAskedForAgainAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := &host{err: errors.New("no")}
		shared := reading[int]{read: asked.read, now: time.Now}
		for range 10 {
			_, err := shared.get(t.Context())
			require.ErrorContains(t, err, "no")
		}
		require.Equal(t, 1, asked.asked)
		asked.err = nil
		time.Sleep(maxAge)
		value, err := shared.get(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, value)
	})
}

func TestWhoLeavesTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := &host{takes: 2 * time.Second}
		shared := reading[int]{read: asked.read, now: time.Now}
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = shared.get(leaving) })
		synctest.Wait()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		leave()
		_, err := shared.get(impatient)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		value, err := shared.get(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, value)
		all.Wait()
	})
}

func TestAHostThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := reading[int]{read: (&host{takes: time.Hour}).read, now: time.Now}
		start := time.Now()
		_, err := shared.get(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, readTimeout, time.Since(start))
	})
}

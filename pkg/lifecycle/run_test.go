package lifecycle_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/leaktest"
	"nestling.dev/nestling/pkg/lifecycle"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// diary notes what happened, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) note(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.entries...)
}

// obedient becomes ready at once and ends when told.
func (d *diary) obedient(name string) lifecycle.Component {
	return lifecycle.New(name, func(ctx context.Context, ready func()) error {
		d.note("start " + name)
		ready()
		ready() // a second call does no harm
		<-ctx.Done()
		d.note("end " + name)
		return ctx.Err()
	})
}

func TestRunStartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	var phases []string

	err := lifecycle.Run(ctx, []lifecycle.Component{
		d.obedient("etcd"),
		d.obedient("apiserver"),
		d.obedient("syncer"),
	}, lifecycle.Options{Observe: func(name string, phase lifecycle.Phase, took time.Duration) {
		phases = append(phases, name+" "+string(phase))
		if name == "syncer" && phase == lifecycle.Ready {
			cancel()
		}
	}})

	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]string{
		"start etcd", "start apiserver", "start syncer",
		"end syncer", "end apiserver", "end etcd",
	}, d.read()))
	require.Empty(t, cmp.Diff([]string{
		"etcd ready", "apiserver ready", "syncer ready",
		"syncer stopped", "apiserver stopped", "etcd stopped",
	}, phases))
}

func TestRunFailures(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")

	tests := map[string]struct {
		last    func(ctx context.Context, ready func()) error
		message string
		cause   error
	}{
		"a component fails before it is ready": {
			last:    func(context.Context, func()) error { return boom },
			message: "last: boom",
			cause:   boom,
		},
		"a component fails after it was ready": {
			last:    func(_ context.Context, ready func()) error { ready(); return boom },
			message: "last: boom",
			cause:   boom,
		},
		"a component ends before it is ready": {
			last:    func(context.Context, func()) error { return nil },
			message: "last: ended before it was ready",
		},
		"a component ends by itself": {
			last:    func(_ context.Context, ready func()) error { ready(); return nil },
			message: "last: ended without being told to",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d diary
			err := lifecycle.Run(t.Context(), []lifecycle.Component{
				d.obedient("first"),
				lifecycle.New("last", test.last),
			}, lifecycle.Options{})

			// A component that is ready and fails at once may be seen in either state.
			if test.message == "last: ended without being told to" {
				require.ErrorContains(t, err, "last: ended ")
			} else {
				require.EqualError(t, err, test.message)
			}
			if test.cause != nil {
				require.ErrorIs(t, err, test.cause)
			}
			require.Empty(t, cmp.Diff([]string{"start first", "end first"}, d.read()), "those before it are stopped")
		})
	}
}

func TestRunAnEarlierComponentFailsWhileALaterOneStarts(t *testing.T) {
	t.Parallel()
	starting := make(chan struct{})
	err := lifecycle.Run(t.Context(), []lifecycle.Component{
		lifecycle.New("etcd", func(_ context.Context, ready func()) error {
			ready()
			<-starting
			return errors.New("disk full")
		}),
		lifecycle.New("apiserver", func(ctx context.Context, _ func()) error {
			close(starting)
			<-ctx.Done()
			return nil
		}),
	}, lifecycle.Options{})
	require.EqualError(t, err, "etcd: disk full")
}

func TestRunIsToldToStopWhileStarting(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	err := lifecycle.Run(ctx, []lifecycle.Component{
		d.obedient("etcd"),
		lifecycle.New("apiserver", func(ctx context.Context, _ func()) error {
			cancel()
			<-ctx.Done()
			d.note("end apiserver")
			return ctx.Err()
		}),
		d.obedient("syncer"),
	}, lifecycle.Options{})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]string{"start etcd", "end apiserver", "end etcd"}, d.read()))
}

func TestRunReportsErrorsOfTheStop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	err := lifecycle.Run(ctx, []lifecycle.Component{
		lifecycle.New("etcd", func(ctx context.Context, ready func()) error {
			ready()
			cancel()
			<-ctx.Done()
			return errors.New("cannot close the database")
		}),
	}, lifecycle.Options{})
	require.EqualError(t, err, "etcd: stopping: cannot close the database")
}

func TestRunGivesUpOnAComponentThatDoesNotStop(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	returned := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	err := lifecycle.Run(ctx, []lifecycle.Component{
		lifecycle.New("etcd", func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done() // told at the end, although nobody waits any more
			return nil
		}),
		lifecycle.New("stuck", func(_ context.Context, ready func()) error {
			ready()
			cancel()
			<-release
			close(returned)
			return nil
		}),
	}, lifecycle.Options{StopTimeout: 10 * time.Millisecond})
	require.EqualError(t, err, "stuck: still running 10ms after the stop began")
	close(release)
	<-returned
}

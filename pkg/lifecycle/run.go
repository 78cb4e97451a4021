package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// defaultStopTimeout leaves a margin within the 30 s that a kubelet gives a pod.
const defaultStopTimeout = 10 * time.Second

// Run starts the components in order, each after the one before it is ready. It
// blocks until ctx ends or a component fails, then stops those that were
// started in reverse order, each after the one behind it has ended.
//
// It returns nil if ctx ended, even during the start, and all components
// stopped in time. Otherwise the error names the component.
func Run(ctx context.Context, components []Component, opts Options) error {
	if opts.StopTimeout == 0 {
		opts.StopTimeout = defaultStopTimeout
	}
	if opts.Observe == nil {
		opts.Observe = func(string, Phase, time.Duration) {}
	}

	ended := make(chan *running, len(components))
	var started []*running
	failure := func() error {
		for _, component := range components {
			r := start(ctx, component, ended)
			started = append(started, r)
			select {
			case <-r.ready:
				opts.Observe(r.name, Ready, time.Since(r.since))
			case dead := <-ended:
				return dead.failure(r)
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case dead := <-ended:
			return dead.failure(nil)
		case <-ctx.Done():
			return nil
		}
	}()

	return errors.Join(failure, stop(started, opts))
}

// running is a started component.
type running struct {
	name   string
	since  time.Time
	cancel context.CancelFunc
	ready  chan struct{} // closed when the component is ready
	done   chan struct{} // closed when Run has returned, after err is set
	err    error
}

// start runs the component in a goroutine of its own. Its context does not end
// with ctx: ending them all at once would take etcd away from an API server
// that still needs it to shut down.
func start(ctx context.Context, component Component, ended chan<- *running) *running {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{
		name:   component.Name(),
		since:  time.Now(),
		cancel: cancel,
		ready:  make(chan struct{}),
		done:   make(chan struct{}),
	}
	go func() {
		r.err = component.Run(own, sync.OnceFunc(func() { close(r.ready) }))
		close(r.done)
		ended <- r // buffered for every component: never blocks
	}()
	return r
}

// failure explains why the run is over although nobody asked for it. starting
// is the component that was not ready yet, if any.
func (r *running) failure(starting *running) error {
	switch {
	case r.err == nil && r == starting:
		return fmt.Errorf("%s: ended before it was ready", r.name)
	case r.err == nil:
		return fmt.Errorf("%s: ended without being told to", r.name)
	default:
		return fmt.Errorf("%s: %w", r.name, r.err)
	}
}

// stop ends the components in reverse. It gives up when the time for all of
// them is over: what then still runs ends with the process.
func stop(started []*running, opts Options) error {
	timeout := time.NewTimer(opts.StopTimeout)
	defer timeout.Stop()
	defer func() {
		for _, r := range started {
			r.cancel()
		}
	}()

	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		select {
		case <-r.done: // it ended by itself and is the failure, or one more of its kind
			continue
		default:
		}
		since := time.Now()
		r.cancel()
		select {
		case <-r.done:
			opts.Observe(r.name, Stopped, time.Since(since))
			if r.err != nil && !errors.Is(r.err, context.Canceled) {
				errs = append(errs, fmt.Errorf("%s: stopping: %w", r.name, r.err))
			}
		case <-timeout.C:
			errs = append(errs, fmt.Errorf("%s: still running %v after the stop began", r.name, opts.StopTimeout))
			return errors.Join(errs...)
		}
	}
	return errors.Join(errs...)
}

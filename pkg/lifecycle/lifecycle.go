// Package lifecycle runs the components of one process: started in order, each
// after the one before it is ready, and stopped in reverse, each awaited.
//
// It knows nothing of Kubernetes. A component that fails ends the run: the
// process is meant to be restarted as a whole (crash-only), because several of
// its parts cannot be started twice in one process.
package lifecycle

import (
	"context"
	"time"
)

// Component is one part of the process.
type Component interface {
	// Name is unique in a run, and short: it is a metric label and part of errors.
	Name() string

	// Run blocks until ctx has ended and everything that it started has ended
	// too. It calls ready once, when the component can be used by those that
	// start after it. Ending before ctx does is a failure, even with a nil error.
	Run(ctx context.Context, ready func()) error
}

// New is a Component made of a function.
func New(name string, run func(ctx context.Context, ready func()) error) Component {
	return &function{name: name, run: run}
}

type function struct {
	name string
	run  func(ctx context.Context, ready func()) error
}

func (f *function) Name() string                                { return f.name }
func (f *function) Run(ctx context.Context, ready func()) error { return f.run(ctx, ready) }

// Phase is a step in the life of a component.
type Phase string

const (
	Ready   Phase = "ready"   // took: from its start until it called ready
	Stopped Phase = "stopped" // took: from being told to stop until Run returned
)

// Options of a run.
type Options struct {
	// StopTimeout bounds the whole stop, from the end of ctx or the first
	// failure until the last component has returned. Default 10 s.
	StopTimeout time.Duration

	// Observe is called at every phase of every component, in order and from
	// one goroutine. Optional.
	Observe func(name string, phase Phase, took time.Duration)
}

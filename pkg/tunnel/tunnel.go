package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

const (
	// defaultPatience is how long a client waits at most who connects while there is no pod: a pod that moves to
	// another node has a volume to take along.
	defaultPatience = time.Minute
	// defaultConnections is more than the clients of one test suite have.
	defaultConnections = 512
)

// Options say which way a tunnel leads.
type Options struct {
	// Host reaches the host's API server.
	Host *rest.Config
	// Namespace is the host namespace of the pod, Port the one that it listens on.
	Namespace string
	Port      int
	// Pod finds the pod; it is asked again after a session has failed. See ControlPlane.
	Pod func(ctx context.Context) (string, error)
	// Patience bounds how long a connection waits for a session; 0 is a minute.
	Patience time.Duration
	// Connections bounds how many there are at a time; 0 is 512. Further ones wait.
	Connections int
	// Report takes a line when the tunnel begins to wait for the host or the pod, and one when it no longer does.
	Report func(line string)
}

// Tunnel is an open one.
type Tunnel struct {
	options  Options
	dial     *dialer
	listener net.Listener
	slots    chan struct{}

	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	pod     string // the last one that was found; empty: find it
	waiting bool   // what was last reported
}

// Open listens. It does not connect to the host: the first client's connection does.
func Open(o Options) (*Tunnel, error) {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.Report == nil {
		o.Report = func(string) {}
	}
	dial, err := newDialer(o.Host, o.Namespace, o.Port)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the tunnel: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t := &Tunnel{options: o, dial: dial, listener: listener, slots: make(chan struct{}, o.Connections), stop: stop}
	t.running.Go(func() { t.accept(ctx) })
	return t, nil
}

// Address is HOST:PORT of the listener.
func (t *Tunnel) Address() string { return t.listener.Addr().String() }

// Close breaks all connections, and returns when nothing of the tunnel is left.
func (t *Tunnel) Close() error {
	t.stop()
	err := t.listener.Close()
	t.running.Wait()
	t.dial.close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (t *Tunnel) accept(ctx context.Context) {
	for {
		select {
		case t.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		client, err := t.listener.Accept()
		switch {
		case err == nil:
			t.running.Go(func() {
				defer func() { <-t.slots }()
				t.serve(ctx, client)
			})
			continue
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		}
		<-t.slots // no file descriptors left, most likely: connections that end give some back
		if !sleep(ctx, retryMax) {
			return
		}
	}
}

// known is the pod that sessions were made with; empty: it has to be found.
func (t *Tunnel) known() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pod
}

func (t *Tunnel) remember(pod string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pod = pod
}

// worked and failed keep what all connections know of the way, and say when it changes.
func (t *Tunnel) worked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting {
		t.waiting = false
		t.options.Report("the tunnel works again")
	}
}

func (t *Tunnel) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.waiting {
		t.waiting = true
		t.options.Report("the tunnel waits: " + err.Error())
	}
}

// sleep says whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

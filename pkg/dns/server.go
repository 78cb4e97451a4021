package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"k8s.io/klog/v2"
)

const (
	// syncInterval is how often it is looked whether the caches are filled, while starting.
	syncInterval = 10 * time.Millisecond
)

// Server is the component.
type Server struct {
	opts    Options
	address atomic.Pointer[net.TCPAddr]
	records atomic.Pointer[records]
}

// New checks the options. Nothing is listened on before Run.
func New(opts Options) (*Server, error) {
	completed, err := opts.complete()
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	return &Server{opts: completed}, nil
}

// Name of the component.
func (s *Server) Name() string { return "dns" }

// HasSynced says whether it knows all that the tenant's API does.
func (s *Server) HasSynced() bool {
	records := s.records.Load()
	return records != nil && records.HasSynced()
}

// Address is where it listens, once ready.
func (s *Server) Address() string {
	if address := s.address.Load(); address != nil {
		return address.String()
	}
	return ""
}

// Run answers queries until ctx ends. ready is called when it knows all that the tenant's
// API does: a query that comes earlier waits in the socket.
func (s *Server) Run(ctx context.Context, ready func()) error {
	sockets, err := openSockets(ctx, s.opts.BindAddress, s.opts.Port)
	if err != nil {
		return err
	}
	defer sockets.close()
	records, err := newRecords(s.opts.Virtual)
	if err != nil {
		return err
	}
	zones, err := newZones(s.opts, records, klog.FromContext(ctx))
	if err != nil {
		return err
	}
	defer zones.close()
	servers, err := newServers(sockets, zones)
	if err != nil {
		return err
	}

	running, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	defer group.Wait()
	defer stop() // before the wait
	if s.opts.Service != nil {
		keeper := newKeeper(records.virtual, *s.opts.Service, sockets.address().Port)
		records.changedService = keeper.changed
		group.Go(func() { keeper.run(running) })
	}
	group.Go(func() { records.run(running) })
	s.records.Store(records)
	if err := await(ctx, records.HasSynced); err != nil {
		return err
	}

	ended := make(chan error, 1+len(sockets.packets))
	group.Go(func() { ended <- servers[0].Serve(sockets.stream) })
	for i, packets := range sockets.packets {
		group.Go(func() { ended <- servers[i].ServePacket(packets) })
	}
	s.address.Store(sockets.address())
	ready()
	select {
	case err = <-ended:
		err = errors.Join(errors.New("stopped listening"), err)
	case <-ctx.Done():
		err = nil
	}
	for _, server := range servers {
		if stopped := server.Stop(); stopped != nil && err == nil {
			err = fmt.Errorf("stop: %w", stopped)
		}
	}
	// Stop has nothing to stop where serving has not begun yet; this does it.
	sockets.close()
	return err
}

// newServers makes one of CoreDNS's servers for each socket of packets, since it has one
// at most. They share the chains of handlers.
func newServers(sockets *sockets, zones *zones) ([]*dnsserver.Server, error) {
	var out []*dnsserver.Server
	for range sockets.packets {
		server, err := dnsserver.NewServer("dns://"+sockets.address().String(), zones.configs)
		if err != nil {
			return nil, err
		}
		out = append(out, server)
	}
	return out, nil
}

// await waits until a condition holds.
func await(ctx context.Context, condition func() bool) error {
	ticker := time.NewTicker(syncInterval)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

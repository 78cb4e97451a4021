package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"k8s.io/klog/v2"
)

const (
	// anyPortTries is how often a port that is free for TCP may turn out not to be for UDP.
	anyPortTries = 20
	// maxConnections of clients by TCP at once; those above wait.
	maxConnections = 1000
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
	stream, packets, err := s.listen(ctx)
	if err != nil {
		return err
	}
	stream = limited(stream, maxConnections)
	defer stream.Close()
	defer packets.Close()
	records, err := newRecords(s.opts.Virtual)
	if err != nil {
		return err
	}
	zones, err := newZones(s.opts, records, klog.FromContext(ctx))
	if err != nil {
		return err
	}
	defer zones.close()
	server, err := dnsserver.NewServer("dns://"+stream.Addr().String(), zones.configs)
	if err != nil {
		return err
	}

	running, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	defer group.Wait()
	defer stop() // before the wait
	if s.opts.Service != nil {
		keeper := newKeeper(records.virtual, *s.opts.Service, stream.Addr().(*net.TCPAddr).Port)
		records.changedService = keeper.changed
		group.Go(func() { keeper.run(running) })
	}
	group.Go(func() { records.run(running) })
	s.records.Store(records)
	if err := await(ctx, records.HasSynced); err != nil {
		return err
	}

	ended := make(chan error, 2)
	group.Go(func() { ended <- server.Serve(stream) })
	group.Go(func() { ended <- server.ServePacket(packets) })
	s.address.Store(stream.Addr().(*net.TCPAddr))
	ready()
	select {
	case err = <-ended:
		err = errors.Join(errors.New("stopped listening"), err)
	case <-ctx.Done():
		err = nil
	}
	// Stop has nothing to stop where serving has not begun yet; then closing does it.
	stopped := server.Stop()
	_, _ = stream.Close(), packets.Close()
	if err == nil && stopped != nil {
		return fmt.Errorf("stop: %w", stopped)
	}
	return err
}

// listen opens the port for both protocols.
func (s *Server) listen(ctx context.Context) (net.Listener, net.PacketConn, error) {
	var config net.ListenConfig
	for try := 1; ; try++ {
		address := net.JoinHostPort(s.opts.BindAddress.String(), strconv.Itoa(s.opts.Port))
		stream, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, nil, listenError(address, err)
		}
		packets, err := config.ListenPacket(ctx, "udp", stream.Addr().String())
		if err == nil {
			return stream, packets, nil
		}
		_ = stream.Close()
		if s.opts.Port != 0 || try == anyPortTries {
			return nil, nil, listenError(address, err)
		}
	}
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("address %s is in use by another process", address)
	}
	return err // says the address
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

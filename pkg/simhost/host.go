package simhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/controlplane/resourcemetrics"
	"nestling.dev/nestling/pkg/lifecycle"
	"nestling.dev/nestling/pkg/pki"
)

// ServiceCIDR is the range of the simulated host's ClusterIPs.
const ServiceCIDR = "10.96.0.0/16"

// defaultNodeMonitorPeriod is upstream's: how often it looks at nodes.
const defaultNodeMonitorPeriod = 5 * time.Second

const (
	// stopTimeout bounds the stop of all components together. No kubelet is waiting for it.
	stopTimeout = time.Minute
	// settleTimeout of it is for a start that is under way, on however busy a machine.
	settleTimeout = 40 * time.Second
)

// Host is a simulated host. Only one at a time can run in a process, since
// upstream's controller manager can run only once in one.
type Host struct {
	opts     Options
	ownDir   bool // made by New, to be removed
	bundle   *pki.Bundle
	gate     *gate
	kubelets *kubeletAPI
	etcd     *embeddedetcd.Member
	api      *controlplane.APIServer

	config *rest.Config         // as administrator, set before apiReady
	client kubernetes.Interface // with config

	apiReady chan struct{} // closed when the API serves and the namespaces exist
	ready    chan struct{} // closed when pods can run
	ended    chan struct{} // closed when Run has returned, after err is set
	err      error
	cancel   context.CancelFunc // of Start
}

// Start runs a host and returns when pods can run on it. The host ends with
// ctx, or with Stop.
func Start(ctx context.Context, opts Options) (*Host, error) {
	host, err := New(opts)
	if err != nil {
		return nil, err
	}
	ctx, host.cancel = context.WithCancel(ctx)
	go func() { _ = host.Run(ctx) }()
	select {
	case <-host.ready:
		return host, nil
	case <-host.ended:
		return nil, errors.Join(host.err, context.Cause(ctx))
	}
}

// New checks the options and takes the ports. Run must follow.
func New(opts Options) (*Host, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	h := &Host{
		apiReady: make(chan struct{}),
		ready:    make(chan struct{}),
		ended:    make(chan struct{}),
	}
	if opts.Dir == "" {
		h.ownDir = true
		if opts.Dir, err = os.MkdirTemp("", "simhost-"); err != nil {
			return nil, fmt.Errorf("simulated host: %w", err)
		}
	}
	h.opts = opts
	if err := h.build(); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

func (h *Host) build() error {
	// The first call decides; a test's own, or the sandbox command's, comes first.
	if err := controlplane.SetGlobals(controlplane.Globals{}); err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	var err error
	if h.bundle, err = pki.New(time.Now()); err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	if h.kubelets, err = newKubeletAPI(h.bundle, h.opts.Nodes); err != nil {
		return err
	}
	if h.gate, err = newGate(h.opts.Port); err != nil {
		return err
	}
	h.etcd = embeddedetcd.New(embeddedetcd.Options{
		DataDir:       filepath.Join(h.opts.Dir, "etcd"),
		UnsafeNoFsync: true,
	})
	h.api, err = controlplane.NewAPIServer(controlplane.APIServerOptions{
		EtcdEndpoint:     h.etcd.Endpoint(),
		PKI:              h.bundle,
		Dir:              filepath.Join(h.opts.Dir, "apiserver"),
		Listener:         h.gate,
		AdvertiseAddress: advertiseAddress(),
		ServiceCIDR:      ServiceCIDR,
		Kubelet:          h.kubelets.dial,
		SettleTimeout:    settleTimeout,
		ExtraArgs:        map[string]string{"delete-collection-workers": "1"}, // upstream's default, which hosts have
		Groups:           []apigroup.Group{resourcemetrics.Group(usage{host: h, now: time.Now})},
	})
	if err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	return nil
}

// advertiseAddress is what default/kubernetes points at. Endpoints may not be
// loopback addresses; nobody dials this one.
func advertiseAddress() net.IP { return net.IPv4(198, 19, 255, 254) }

// release gives back what New took.
func (h *Host) release() {
	if h.gate != nil {
		_ = h.gate.Close()
		h.gate.forsake()
	}
	if h.kubelets != nil {
		_ = h.kubelets.listener.Close()
	}
	if h.ownDir {
		_ = os.RemoveAll(h.opts.Dir)
	}
}

// Run runs the host until ctx ends or a part of it fails.
func (h *Host) Run(ctx context.Context) error {
	defer close(h.ended)
	defer h.release()
	components, err := h.components()
	if err != nil {
		h.err = fmt.Errorf("simulated host: %w", err)
		return h.err
	}
	err = lifecycle.Run(ctx, components, lifecycle.Options{
		StopTimeout: stopTimeout,
		Observe: func(name string, phase lifecycle.Phase, took time.Duration) {
			if phase == lifecycle.Ready {
				h.opts.Observe(name, took)
			}
		},
	})
	if err != nil {
		h.err = fmt.Errorf("simulated host: %w", err)
	}
	return h.err
}

// Stop ends a host that Start has started, and waits until it has ended.
func (h *Host) Stop() error {
	if h.cancel != nil {
		h.cancel()
	}
	<-h.ended
	return h.err
}

// APIReady is closed when the API serves and the namespaces and nodes exist.
func (h *Host) APIReady() <-chan struct{} { return h.apiReady }

// Ready is closed when pods can run.
func (h *Host) Ready() <-chan struct{} { return h.ready }

// Done is closed when the host has ended; Err says why.
func (h *Host) Done() <-chan struct{} { return h.ended }

// Err is why the host ended; nil if it was told to. Valid after Done.
func (h *Host) Err() error { return h.err }

// Config connects to the host as its administrator, without a client-side rate
// limit. Valid after APIReady.
func (h *Host) Config() *rest.Config { return rest.CopyConfig(h.config) }

// ConfigFor connects as somebody else. Valid after APIReady.
func (h *Host) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	config, err := h.api.ClientConfig(user, groups...)
	if err != nil {
		return nil, fmt.Errorf("simulated host: %w", err)
	}
	return unlimited(config), nil
}

func unlimited(config *rest.Config) *rest.Config {
	config.QPS, config.Burst = -1, 0
	return config
}

// Port of the API on 127.0.0.1.
func (h *Host) Port() int { return h.gate.address.Port }

// StopAPI makes the API unreachable: its port refuses connections, and the
// present ones are cut. The host's own controllers lose it too.
func (h *Host) StopAPI() { h.gate.shut() }

// StartAPI makes the API reachable again, on the same port.
func (h *Host) StartAPI(ctx context.Context) error { return h.gate.open(ctx) }

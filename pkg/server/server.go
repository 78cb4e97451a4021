package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/activity"
	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/controlplane/egress"
	"nestling.dev/nestling/pkg/controlplane/hostmetrics"
	"nestling.dev/nestling/pkg/controlplane/kubeletapi"
	"nestling.dev/nestling/pkg/controlplane/preflight"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/dns"
	"nestling.dev/nestling/pkg/hostclient"
	"nestling.dev/nestling/pkg/lifecycle"
	"nestling.dev/nestling/pkg/metrics"
	"nestling.dev/nestling/pkg/pki"
	"nestling.dev/nestling/pkg/version"
	"nestling.dev/nestling/syncer"
)

// stopTimeout bounds the whole ordered stop. The StatefulSet grants 15 s.
const stopTimeout = 10 * time.Second

const (
	// applyPatience is how long a start waits for what the host misses: seconds may pass
	// between a write and its effect, and a container that fails is backed off for longer.
	applyPatience = 3 * time.Second
	// optionalPatience is the same for rights that can be done without: those without
	// them pay it at every start.
	optionalPatience = 400 * time.Millisecond
	// outagePatience is how long it waits for a host that does not answer at all.
	outagePatience = time.Minute
	checkInterval  = 200 * time.Millisecond
)

// syncerUser is who the syncer is to the tenant's API and in its audit log.
const syncerUser = "nestling:syncer"

// server is what the components of one run share. Each field is set by one component
// before it is ready, and read by later ones only.
type server struct {
	config  config.Completed
	names   deploy.Names
	metrics *metrics.Metrics

	hostConfig *rest.Config
	host       kubernetes.Interface
	owner      metav1.OwnerReference
	unreadable map[string]bool // what the host does not serve, or does not let us use
	serviceIP  net.IP          // of default/kubernetes: the ClusterIP of the tenant's host Service
	dnsIP      net.IP          // the ClusterIP of the host Service for its DNS; nil: the tenant has none

	activity  *activity.Tracker
	pki       *pki.Bundle
	etcd      *embeddedetcd.Member
	kubelet   *kubeletapi.Server
	quotas    *preflight.Quotas // nil: no preflight
	apiServer *controlplane.APIServer
	syncer    atomic.Pointer[syncer.Syncer] // read by requests that may come before it is there
	dns       atomic.Pointer[dns.Server]    // likewise

	objectsTried atomic.Bool // the operator's initial objects

	scrapeExpires atomic.Pointer[time.Time] // of the certificate for Prometheus
	adminExpires  atomic.Pointer[time.Time] // of the administrator's certificate
}

// Run runs the tenant until ctx ends, then stops everything in order. A failure of
// one component is returned after the others have been stopped.
func Run(ctx context.Context, completed config.Completed) error {
	start := time.Now()
	pacing, stopPacing := context.WithCancel(ctx)
	var pacer sync.WaitGroup
	pacer.Go(func() { keepPace(pacing, completed.Runtime.GOGC) })
	defer pacer.Wait()
	defer stopPacing()
	if err := controlplane.SetGlobals(controlplane.Globals{Verbosity: completed.Log.Verbosity}); err != nil {
		return err
	}
	// Before anything is made: who is second on a port has most likely been started twice.
	if err := checkAddress(ctx, completed); err != nil {
		return err
	}
	s := &server{
		config:   completed,
		names:    deploy.Names{Tenant: completed.Tenant, Namespace: completed.Host.Namespace},
		metrics:  metrics.New(version.Get().Version),
		activity: activity.New(time.Now),
	}
	logger := klog.FromContext(ctx)
	components := []lifecycle.Component{
		lifecycle.New("host", s.runHost),
		// Before all that may fail: a broken tenant has its time, too.
		lifecycle.New("lifetime", s.runLifetime),
		// Before pki: a data directory that is not ours leaves nothing on the host.
		lifecycle.New("etcd", s.runEtcd),
		lifecycle.New("pki", s.runPKI),
		lifecycle.New("kubelet-api", s.runKubeletAPI),
		lifecycle.New("preflight", s.runPreflight),
		lifecycle.New("apiserver", s.runAPIServer),
		lifecycle.New("kubeconfig", s.runKubeconfig),
		lifecycle.New("scrape-secret", s.runScrapeSecret),
		lifecycle.New("controller-manager", s.runControllerManager),
		lifecycle.New("syncer", s.runSyncer),
		lifecycle.New("dns", s.runDNS),
	}
	return lifecycle.Run(ctx, append(components, s.initialObjects()...), lifecycle.Options{
		StopTimeout: stopTimeout,
		Observe: func(name string, phase lifecycle.Phase, took time.Duration) {
			if phase == lifecycle.Ready {
				s.metrics.ObserveStart(name, took)
			}
			logger.Info("Component", "name", name, "phase", phase, "took", took.Round(time.Millisecond), "since", time.Since(start).Round(time.Millisecond))
		},
	})
}

// checkAddress finds out whether the API will be able to listen.
func checkAddress(ctx context.Context, config config.Completed) error {
	address := net.JoinHostPort(config.BindIP().String(), strconv.Itoa(config.APIServer.Port))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("address %s is in use by another process", address)
	}
	if err != nil {
		return err // says the address
	}
	return listener.Close()
}

// once is the Run of a component that has nothing to keep running.
func once(ctx context.Context, ready func(), do func() error) error {
	if err := do(); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	return nil
}

// runHost finds out whether the host has what a tenant needs.
func (s *server) runHost(ctx context.Context, ready func()) error {
	return once(ctx, ready, func() (err error) {
		s.hostConfig, err = hostclient.New(hostclient.Options{Kubeconfig: s.config.Host.Kubeconfig, Tenant: s.config.Tenant})
		if err != nil {
			return err
		}
		s.hostConfig.Wrap(s.metrics.Host().Wrap)
		if s.host, err = kubernetes.NewForConfig(s.hostConfig); err != nil {
			return err
		}
		found, err := s.checkHost(ctx)
		if err != nil {
			return err
		}
		s.unreadable = found.Unreadable()
		if len(s.unreadable) > 0 {
			klog.FromContext(ctx).Info("The host does not grant optional rights; what needs them degrades", "resources", slices.Sorted(maps.Keys(s.unreadable)))
		}
		if s.config.Nodes.Mirror == config.MirrorAll && s.unreadable["nodes"] {
			return fmt.Errorf("nodes.mirror is %q, but the host does not let us read its nodes: apply the tenant's manifests with their ClusterRole, or use %q",
				config.MirrorAll, config.MirrorUsed)
		}
		if err := checkService(found.Service, s.config.Tenant); err != nil {
			return err
		}
		if err := s.checkExposure(); err != nil {
			return err
		}
		s.owner = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: found.Anchor.Name, UID: found.Anchor.UID}
		s.serviceIP = net.ParseIP(found.Service.Spec.ClusterIP)
		if s.serviceIP == nil {
			return fmt.Errorf("Service %s/%s has no ClusterIP (%q): it must have one, as in the tenant's manifests",
				found.Service.Namespace, found.Service.Name, found.Service.Spec.ClusterIP)
		}
		s.dnsIP = s.findDNS(ctx, found.DNS)
		return nil
	})
}

// checkHost gives a host some time that does not answer, and a little to one that misses
// something: what was applied a moment ago may not have reached the host's authorizer.
func (s *server) checkHost(ctx context.Context) (*hostclient.Host, error) {
	sync := deploy.SyncOptions(&s.config.Config)
	needs := hostclient.Needs{
		Tenant: s.config.Tenant, Namespace: s.config.Host.Namespace,
		Anchor: s.names.Anchor(), Service: s.config.Host.Service, DNS: s.names.DNS(),
		Required: deploy.RequiredRules(s.config.Host.Namespace, sync), Role: s.config.Tenant,
		Optional: deploy.OptionalRules(sync), ClusterWide: deploy.ClusterRules(sync),
	}
	said := false
	for start := time.Now(); ; {
		found, err := hostclient.Check(ctx, s.host, s.hostConfig.Host, needs)
		patience := applyPatience
		var unreachable *hostclient.UnreachableError
		switch {
		case errors.As(err, &unreachable):
			patience = outagePatience
		case err == nil && len(found.Missing) > 0:
			patience = optionalPatience
		case err == nil:
			patience = 0
		}
		if time.Since(start) >= patience {
			return found, err
		}
		if patience == outagePatience && !said {
			said = true // once; a mistake of the user's is told at the end, in one line
			klog.FromContext(ctx).Info("Waiting for the host", "patience", patience, "because", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(checkInterval):
		}
	}
}

func (s *server) runPKI(ctx context.Context, ready func()) error {
	return once(ctx, ready, func() (err error) {
		if s.pki, err = loadPKI(ctx, s.host, s.names, s.owner, time.Now()); err == nil {
			s.metrics.Certificates(s.expiries)
		}
		return err
	})
}

func (s *server) runEtcd(ctx context.Context, ready func()) error {
	s.etcd = embeddedetcd.New(embeddedetcd.Options{
		DataDir:       filepath.Join(s.config.DataDir, "etcd"),
		Owner:         s.config.Host.Namespace + "/" + s.config.Tenant,
		QuotaBytes:    s.config.Etcd.QuotaBytes,
		UnsafeNoFsync: s.config.Etcd.UnsafeNoFsync,
	})
	s.metrics.Etcd(s.storeSize)
	return s.etcd.Run(ctx, ready)
}

func (s *server) runAPIServer(ctx context.Context, ready func()) error {
	advertised := s.config.AdvertiseIP()
	if advertised == nil {
		return fmt.Errorf("apiServer.advertiseAddress is not set and this process has no POD_IP: set the address at which the tenant's pods reach it")
	}
	serviceRange := s.config.ServiceCIDR
	if !serviceRange.IsValid() {
		address, _ := netip.AddrFromSlice(s.serviceIP)
		serviceRange = config.ServiceRange(address)
	}
	usage, err := s.usageGroup()
	if err != nil {
		return err
	}
	s.apiServer, err = controlplane.NewAPIServer(controlplane.APIServerOptions{
		EtcdEndpoint: s.etcd.Endpoint(), PKI: s.pki, Dir: filepath.Join(s.config.DataDir, "pki"),
		BindAddress: s.config.BindIP(), Port: s.config.APIServer.Port, AdvertiseAddress: advertised,
		ServiceCIDR: serviceRange.String(), ServiceIP: s.serviceIP, ClusterDomain: s.config.ClusterDomain,
		SANs:         s.sans(),
		Kubelet:      s.kubelet.Dial,
		Outbound:     egress.Dial(s.hostAddresses()...),
		MutatingLast: s.admissionPlugins(), ValidatingLast: s.validatingPlugins(),
		Groups:      []apigroup.Group{usage, s.explanationGroup()},
		ReadyChecks: s.readyChecks(),
		Metrics:     s.metrics.Handler(),
		Passthrough: controlplane.Passthrough{
			Authentication: s.config.AuthenticationDocument(),
			AuditPolicy:    s.config.AuditPolicy(), AuditLog: s.config.AuditLog(), AuditWebhook: s.config.AuditWebhookFile(),
			Encryption: s.config.EncryptionFile(),
		},
		Activity: s.activity,
	})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	group, running := errgroup.WithContext(running)
	group.Go(func() error {
		defer cancel() // who follows ends with it
		return s.apiServer.Run(running, ready)
	})
	group.Go(func() error { return hostmetrics.Follow(running, s.hostConfig, usage.Listing.Show) })
	return group.Wait()
}

// readyChecks are what /readyz waits for, beside the API server itself.
func (s *server) readyChecks() []healthz.HealthChecker {
	checks := []healthz.HealthChecker{healthz.NamedCheck("syncer", s.checkSyncer), healthz.NamedCheck("dns", s.checkDNS)}
	if len(s.config.InitialObjects) > 0 {
		checks = append(checks, healthz.NamedCheck("initial-objects", s.checkInitialObjects))
	}
	return checks
}

// hostAddresses are those at which this process reaches the host's API.
func (s *server) hostAddresses() []netip.Prefix {
	address, err := url.Parse(s.hostConfig.Host)
	if err != nil {
		return nil
	}
	return egress.Host(address.Hostname())
}

// sans are the names under which the tenant's API is reached through the host in any case.
func (s *server) sans() []string {
	service, namespace := s.config.Host.Service, s.config.Host.Namespace
	names := []string{
		service, service + "." + namespace, service + "." + namespace + ".svc",
		service + "." + namespace + ".svc." + s.config.ClusterDomain,
	}
	names = append(names, s.config.APIServer.SANs...)
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *server) runControllerManager(ctx context.Context, ready func()) error {
	manager, err := controlplane.NewControllerManager(controlplane.ControllerManagerOptions{
		ClientConfig: func() (*rest.Config, error) {
			return s.apiServer.ClientConfig(controlplane.ControllerManagerUser)
		},
		PKI: s.pki, Dir: filepath.Join(s.config.DataDir, "pki"),
	})
	if err != nil {
		return err
	}
	return manager.Run(ctx, ready)
}

// checkSyncer is the part of /readyz that depends on the host.
func (s *server) checkSyncer(*http.Request) error {
	if running := s.syncer.Load(); running == nil || !running.HasSynced() {
		return fmt.Errorf("the syncer's caches are not filled yet")
	}
	return nil
}

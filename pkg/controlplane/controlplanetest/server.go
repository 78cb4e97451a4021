// Package controlplanetest starts a real etcd and a real kube-apiserver inside
// a test, without a controller manager.
package controlplanetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/lifecycle"
	"nestling.dev/nestling/pkg/pki"
)

// Options of a test server. The zero value is good.
type Options struct {
	// FeatureGates are those of the whole process: the same for all its servers.
	FeatureGates map[string]bool
	// Configure changes the options of the API server before it starts.
	Configure func(opts *controlplane.APIServerOptions)
}

// Server is a running API server on 127.0.0.1.
type Server struct {
	Config *rest.Config // as system:masters, without client-side rate limit
	PKI    *pki.Bundle
	API    *controlplane.APIServer

	etcd string // endpoint
}

// Put writes an object past the API, in etcd, as a server of a newer version could have
// left it there: key is without /registry/, value is JSON.
func (s *Server) Put(ctx context.Context, key string, value []byte) error {
	return s.store(func(client *clientv3.Client) error {
		_, err := client.Put(ctx, "/registry/"+key, string(value))
		return err
	})
}

// Get reads what etcd has under a key, which is without /registry/.
func (s *Server) Get(ctx context.Context, key string) (value []byte, err error) {
	err = s.store(func(client *clientv3.Client) error {
		found, err := client.Get(ctx, "/registry/"+key)
		if err == nil && len(found.Kvs) != 1 {
			err = fmt.Errorf("etcd has %d values of %s", len(found.Kvs), key)
		}
		if err == nil {
			value = found.Kvs[0].Value
		}
		return err
	})
	return value, err
}

// Etcd is the endpoint of its store, for another server on the same data.
func (s *Server) Etcd() string { return s.etcd }

func (s *Server) store(do func(client *clientv3.Client) error) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.etcd}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	return do(client)
}

// advertised is an address for documentation (RFC 5737): endpoints may not be
// on a loopback address, and nobody connects to this one.
const advertised = "192.0.2.1"

// startTimeout is for a machine that builds something else at the same time.
const startTimeout = time.Minute

// Start runs a server until the test ends. Several can run in one process; a
// TestMain that wants one for all its tests uses Run.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	server, stop, err := Run(opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop the test server: %v", err)
		}
	})
	return server
}

// Run starts a server; stop ends it, waits for it and removes its data.
func Run(opts Options) (server *Server, stop func() error, err error) {
	if err := controlplane.SetGlobals(controlplane.Globals{Quiet: true, FeatureGates: opts.FeatureGates}); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "controlplane") // a test's own directory is too deep for a socket
	if err != nil {
		return nil, nil, err
	}
	bundle, err := pki.New(time.Now())
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}

	etcd := embeddedetcd.New(embeddedetcd.Options{DataDir: filepath.Join(dir, "etcd"), UnsafeNoFsync: true})
	apiOptions := controlplane.APIServerOptions{
		EtcdEndpoint:     etcd.Endpoint(),
		PKI:              bundle,
		Dir:              filepath.Join(dir, "apiserver"),
		Listener:         listener,
		AdvertiseAddress: net.ParseIP(advertised),
	}
	if opts.Configure != nil {
		opts.Configure(&apiOptions)
	}
	api, err := controlplane.NewAPIServer(apiOptions)
	if err != nil {
		return nil, nil, err
	}

	ctx, cancel := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- lifecycle.Run(ctx, []lifecycle.Component{etcd, api}, lifecycle.Options{
			StopTimeout: startTimeout,
			Observe: func(name string, phase lifecycle.Phase, _ time.Duration) {
				if name == api.Name() && phase == lifecycle.Ready {
					close(ready)
				}
			},
		})
	}()
	stop = func() error {
		cancel()
		err := <-ended
		_ = os.RemoveAll(dir)
		return err
	}
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		_ = os.RemoveAll(dir)
		return nil, nil, err
	case <-time.After(startTimeout):
		return nil, nil, context.DeadlineExceeded
	}
	config, err := api.ClientConfig("test-admin", "system:masters")
	if err != nil {
		return nil, nil, err
	}
	if err := awaitUsable(config, len(apiOptions.MutatingLast) == 0); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return &Server{Config: config, PKI: bundle, API: api, etcd: etcd.Endpoint()}, stop, nil
}

// awaitUsable waits for what a test takes for granted and /readyz does not wait for: the
// namespace default, and addresses for Services. For these it asks by a dry run, unless
// admission plugins of the test's are in the way, which may ask a host that is not there yet.
func awaitUsable(config *rest.Config, services bool) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	try := func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
		if err != nil || !services {
			return err
		}
		_, err = client.CoreV1().Services(metav1.NamespaceDefault).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "trial"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	var unusable error
	if err := wait.PollUntilContextTimeout(context.Background(), look, startTimeout, true, func(ctx context.Context) (bool, error) {
		unusable = try(ctx)
		return unusable == nil, nil
	}); err != nil {
		return fmt.Errorf("the API server is ready, but cannot be used: %w", unusable)
	}
	return nil
}

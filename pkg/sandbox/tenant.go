package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/loopback"
)

// readyTimeout is how long a tenant may take to get ready.
const readyTimeout = 2 * time.Minute

// Tenant is one nestling: its objects on the host, and the process that a
// StatefulSet's pod would run.
type Tenant struct {
	name    string
	sandbox *Sandbox
	dir     string
	port    int
	dnsPort int

	mu         sync.Mutex
	process    *process // the latest; nil before the first start
	kubeconfig []byte   // of the tenant's administrator
	config     *rest.Config
}

// newTenant takes a directory with a short path: a unix socket will lie in it.
func newTenant(name string, s *Sandbox, dir string) *Tenant {
	return &Tenant{name: name, sandbox: s, dir: dir}
}

// start makes the tenant's objects and files and runs its process.
func (t *Tenant) start(ctx context.Context) error {
	if err := t.prepare(ctx); err != nil {
		return fmt.Errorf("tenant %s: %w", t.name, err)
	}
	return t.run(ctx)
}

func (t *Tenant) prepare(ctx context.Context) error {
	options := deploy.Default()
	options.Tenant, options.Namespace, options.Ephemeral = t.name, t.sandbox.opts.Namespace, true
	if t.sandbox.opts.Configure != nil {
		t.sandbox.opts.Configure(t.name, &options.Config) // the rights that it needs follow
	}
	if t.sandbox.opts.Install != nil {
		t.sandbox.opts.Install(t.name, &options)
	}
	objects, err := deploy.Objects(options)
	if err != nil {
		return err
	}
	if err := apply(ctx, t.sandbox.host.Config(), objects); err != nil {
		return err
	}
	hostConfig, err := serviceAccountConfig(ctx, t.sandbox.host.Config(), t.sandbox.opts.Namespace, t.name)
	if err != nil {
		return err
	}
	hostKubeconfig, err := kubeconfig("host", t.sandbox.opts.Namespace, hostConfig)
	if err != nil {
		return err
	}
	if t.port, err = loopback.FreePort(); err != nil {
		return err
	}
	if t.dnsPort, err = loopback.FreePort(); err != nil {
		return err
	}
	file, err := yaml.Marshal(t.file())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(t.dir, "data"), 0o700); err != nil {
		return err
	}
	return errors.Join(
		writeSecret(t.path("host.kubeconfig"), hostKubeconfig),
		writeSecret(t.path("config.yaml"), file),
	)
}

// file is the tenant's configuration: what differs from that in a pod.
func (t *Tenant) file() *config.Config {
	file := &config.Config{
		APIVersion: config.APIVersion,
		Kind:       config.Kind,
		Tenant:     t.name,
		DataDir:    t.path("data"),
		Host: config.Host{
			Namespace:  t.sandbox.opts.Namespace,
			Kubeconfig: t.path("host.kubeconfig"),
		},
		APIServer: config.APIServer{
			BindAddress: "127.0.0.1",
			Port:        t.port,
			ServerURL:   fmt.Sprintf("https://127.0.0.1:%d", t.port),
			// Endpoints may not be loopback addresses. Nobody dials this one: it
			// is from the range for benchmarks, as the simulated nodes are.
			AdvertiseAddress: "198.19.255.1",
		},
		Etcd: config.Etcd{UnsafeNoFsync: true}, // it dies with the sandbox
		DNS:  config.DNS{BindAddress: "127.0.0.1", Port: t.dnsPort},
	}
	if t.sandbox.opts.Configure != nil {
		t.sandbox.opts.Configure(t.name, file)
	}
	return file
}

func (t *Tenant) path(name string) string { return filepath.Join(t.dir, name) }

// run starts the process and waits until it is ready.
func (t *Tenant) run(ctx context.Context) error {
	command := exec.Command(t.sandbox.opts.Binary, "serve", "--config", t.path("config.yaml"))
	command.Dir = t.dir
	command.Env = environment(os.Environ())
	process, err := startProcess(command, t.LogPath())
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.name, err)
	}
	t.mu.Lock()
	t.process = process
	t.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	awaited := make(chan error, 1)
	go func() { awaited <- t.awaitReady(ctx) }()
	select {
	case err = <-awaited:
	case <-process.ended:
		cancel()
		<-awaited
		err = process.failure()
	}
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.name, err)
	}
	return nil
}

// environment leaves out what would tell the tenant that it runs in a pod, or
// configure it: the sandbox may itself run in a pod of some cluster.
func environment(all []string) []string {
	var kept []string
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, "NESTLING_"), strings.HasPrefix(name, "KUBE"), strings.HasPrefix(name, "POD_"):
		default:
			kept = append(kept, variable)
		}
	}
	return kept
}

// awaitReady waits until the tenant's API is ready and takes pods.
func (t *Tenant) awaitReady(ctx context.Context) error {
	text, err := t.secret(ctx)
	if err != nil {
		return err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS = -1
	virtualClient, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if last = virtualClient.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); last != nil {
			return false, nil
		}
		// Pods need the ServiceAccount that a controller makes.
		_, last = virtualClient.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("not ready: %w", errors.Join(err, last))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kubeconfig, t.config = text, config
	return nil
}

// secret waits for the kubeconfig that the tenant writes on the host.
func (t *Tenant) secret(ctx context.Context) (text []byte, err error) {
	hostClient, err := kubernetes.NewForConfig(t.sandbox.host.Config())
	if err != nil {
		return nil, err
	}
	names := deploy.Names{Tenant: t.name, Namespace: t.sandbox.opts.Namespace}
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		secret, err := hostClient.CoreV1().Secrets(names.Namespace).Get(ctx, names.Kubeconfig(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		text = secret.Data[deploy.KubeconfigKey]
		return len(text) > 0, nil
	})
	if err != nil {
		return nil, fmt.Errorf("host Secret %s/%s: %w", names.Namespace, names.Kubeconfig(), err)
	}
	return text, nil
}

// Name of the tenant.
func (t *Tenant) Name() string { return t.name }

// Config connects as the tenant's administrator, without a client-side rate limit.
func (t *Tenant) Config() *rest.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	return rest.CopyConfig(t.config)
}

// Kubeconfig is the file that the tenant has written for its administrator.
func (t *Tenant) Kubeconfig() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kubeconfig
}

// DNSAddress is where its DNS answers, by UDP and TCP: no simulated pod could ask it.
func (t *Tenant) DNSAddress() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.dnsPort)) }

// LogPath is the file that the process writes to, over all its runs.
func (t *Tenant) LogPath() string { return filepath.Join(t.sandbox.opts.LogDir, t.name+".log") }

// PID of the latest process.
func (t *Tenant) PID() int { return t.latest().command.Process.Pid }

// Ended is closed when the latest process has ended.
func (t *Tenant) Ended() <-chan struct{} { return t.latest().ended }

// Failure is why the latest process ended. Valid after Ended.
func (t *Tenant) Failure() error { return fmt.Errorf("tenant %s: %w", t.name, t.latest().failure()) }

// Kill ends the process as a crash would, at any moment, and waits for its end.
func (t *Tenant) Kill() { t.latest().kill() }

// Restart starts the process again, once the latest has ended, and waits until
// it is ready. Data and configuration are the same.
func (t *Tenant) Restart(ctx context.Context) error {
	<-t.latest().ended
	return t.run(ctx)
}

// Stop ends the process in order.
func (t *Tenant) Stop() error {
	process := t.latest()
	if process == nil {
		return nil
	}
	if err := process.stop(); err != nil {
		return fmt.Errorf("tenant %s: %w", t.name, err)
	}
	return nil
}

func (t *Tenant) latest() *process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.process
}

package controlplanetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
	"nestling.dev/nestling/pkg/loopback"
	"nestling.dev/nestling/pkg/pki"
)

// stopPatience is how long a program may take to end in order.
const stopPatience = 10 * time.Second

// RunProgram runs a kube-apiserver that was built elsewhere, of another version than the
// one that this program has in it, with an etcd of this process. The Server has no API.
// Flags are without certificates, addresses and etcd, which it gets.
func RunProgram(binary string, extraFlags ...string) (server *Server, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "controlplane")
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var etcdDone sync.WaitGroup
	etcd := embeddedetcd.New(embeddedetcd.Options{DataDir: filepath.Join(dir, "etcd"), UnsafeNoFsync: true})
	ready, etcdErr := make(chan struct{}), make(chan error, 1)
	etcdDone.Go(func() { etcdErr <- etcd.Run(ctx, func() { close(ready) }) })
	p := &program{dir: dir}
	stop = func() error {
		err := p.stop()
		cancel()
		etcdDone.Wait()
		return errors.Join(err, os.RemoveAll(dir))
	}
	select {
	case <-ready:
	case err := <-etcdErr:
		return nil, nil, errors.Join(err, stop())
	}
	if server, err = p.start(binary, etcd.Endpoint(), extraFlags); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return server, stop, nil
}

// program is a kube-apiserver as a child process.
type program struct {
	dir     string
	command *exec.Cmd
	ended   chan error
	output  bytes.Buffer
}

func (p *program) start(binary, etcd string, extraFlags []string) (*Server, error) {
	bundle, err := pki.New(time.Now())
	if err != nil {
		return nil, err
	}
	port, err := loopback.FreePort()
	if err != nil {
		return nil, err
	}
	flags, err := p.flags(bundle)
	if err != nil {
		return nil, err
	}
	flags = append(flags, extraFlags...)
	p.command = exec.Command(binary, append(flags,
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--advertise-address="+advertised, fmt.Sprintf("--secure-port=%d", port),
		"--service-cluster-ip-range=10.0.0.0/16", "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--endpoint-reconciler-type=none")...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test is killed
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	p.ended = make(chan error, 1)
	go func() { p.ended <- p.command.Wait() }()

	certificate, key, err := bundle.Issue(pki.Leaf{CommonName: "test-admin", Organizations: []string{"system:masters"}, Client: true})
	if err != nil {
		return nil, err
	}
	config := &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", port), QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: bundle.CAPEM(), CertData: certificate, KeyData: key},
	}
	if err := p.awaitReady(config); err != nil {
		return nil, err
	}
	return &Server{Config: config, PKI: bundle}, nil
}

// flags writes the certificates, and names them.
func (p *program) flags(bundle *pki.Bundle) ([]string, error) {
	certificate, key, err := bundle.Issue(pki.Leaf{CommonName: "kube-apiserver", Server: true, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		return nil, err
	}
	var out []string
	for flag, content := range map[string][]byte{
		"tls-cert-file": certificate, "tls-private-key-file": key, "client-ca-file": bundle.CAPEM(),
		"service-account-key-file": bundle.ServiceAccountKeyPEM(), "service-account-signing-key-file": bundle.ServiceAccountKeyPEM(),
	} {
		path := filepath.Join(p.dir, flag+".pem")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
		out = append(out, "--"+flag+"="+path)
	}
	return out, nil
}

func (p *program) awaitReady(config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	deadline := time.After(startTimeout)
	for {
		err := client.RESTClient().Get().AbsPath("/readyz").Do(context.Background()).Error()
		if err == nil {
			return nil
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return fmt.Errorf("kube-apiserver ended before it was ready: %w\n%s", ended, p.output.Bytes())
		case <-deadline:
			return fmt.Errorf("kube-apiserver is not ready: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *program) stop() error {
	if p.ended == nil {
		return nil
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended: // by a signal, which is no failure
		return nil
	case <-time.After(stopPatience):
		return p.command.Process.Kill()
	}
}

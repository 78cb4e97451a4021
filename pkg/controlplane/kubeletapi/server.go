package kubeletapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

const (
	// stopTimeout bounds the end of Run. All connections are cut at once; this is how
	// long their handlers may take to notice.
	stopTimeout = 3 * time.Second
	// headerTimeout bounds the reading of a request's header.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection without a request is kept, as in kubelet.
	idleTimeout = 90 * time.Second
	// maxHeaderBytes bounds a request's header, the command of an exec included.
	maxHeaderBytes = 1 << 20
	// defaultMaxStreams bounds the open requests. Each costs three file descriptors.
	defaultMaxStreams = 1000
)

// Options configure a Server.
type Options struct {
	Host     *rest.Config // of the host API, with the rights of this cluster
	Resolver Resolver

	Certificate, Key []byte // PEM, of the server
	ClientCA         []byte // PEM, that signed the API server's client certificate
	ClientName       string // its common name: the only client that is served

	MaxStreams int // default 1000
}

// Server is the kubelet API of all nodes of one virtual cluster.
type Server struct {
	listener *memory
	tls      *tls.Config
	handler  *handler
	host     *hostAPI
}

// New checks the options. Nothing happens before Run.
func New(options Options) (*Server, error) {
	certificate, err := tls.X509KeyPair(options.Certificate, options.Key)
	if err != nil {
		return nil, fmt.Errorf("kubelet API: serving certificate: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(options.ClientCA) {
		return nil, errors.New("kubelet API: client CA: no certificate in it")
	}
	switch {
	case options.ClientName == "":
		return nil, errors.New("kubelet API: no client name")
	case options.Resolver == nil:
		return nil, errors.New("kubelet API: no resolver")
	case options.Host == nil:
		return nil, errors.New("kubelet API: no host")
	case options.MaxStreams == 0:
		options.MaxStreams = defaultMaxStreams
	}
	host, err := newHostAPI(options.Host)
	if err != nil {
		return nil, err
	}
	return &Server{
		listener: newMemory(),
		tls: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{certificate},
			ClientCAs:    clients,
			// A client without a certificate gets through the handshake and a 401, so
			// that it can tell what is wrong.
			ClientAuth: tls.VerifyClientCertIfGiven,
			NextProtos: []string{"http/1.1"}, // upgrades need it
		},
		host: host,
		handler: &handler{
			host: host, resolver: options.Resolver, clientName: options.ClientName,
			places:         make(chan struct{}, options.MaxStreams),
			upgradeTimeout: defaultUpgradeTimeout,
		},
	}, nil
}

// Name of the component.
func (s *Server) Name() string { return "kubelet-api" }

// Dial connects to the server, whatever the address: it stands for every node. It has
// the shape of a dialer for the API server's kubelet client.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.listener.Dial(ctx)
}

// Run serves until ctx ends, then cuts all connections and waits for their handlers.
func (s *Server) Run(ctx context.Context, ready func()) error {
	// Requests end with ctx: their streams are as long as the containers live.
	requests, cut := context.WithCancel(ctx)
	defer cut()
	var conns connections
	server := &http.Server{
		Handler:           conns.track(s.handler),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnState:         conns.observe,
		ErrorLog:          log.New(logWriter{klog.FromContext(ctx)}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(tls.NewListener(s.listener, s.tls)) }()
	ready()

	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
		err = fmt.Errorf("kubelet API: serve: %w", err)
	}
	cut()
	_ = s.listener.Close() // never fails
	closeErr := server.Close()
	if err == nil {
		<-served
		err = closeErr
	}
	if !conns.wait(stopTimeout) {
		err = errors.Join(err, fmt.Errorf("kubelet API: requests did not end within %s", stopTimeout))
	}
	s.host.close()
	return err
}

// connections counts what has to end before Run may: the goroutines of the HTTP
// server, one per connection, and the handlers that took a connection over.
type connections struct{ running sync.WaitGroup }

func (c *connections) observe(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.running.Add(1)
	case http.StateClosed, http.StateHijacked:
		c.running.Done()
	}
}

func (c *connections) track(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.running.Add(1)
		defer c.running.Done()
		next.ServeHTTP(w, r)
	})
}

func (c *connections) wait(timeout time.Duration) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.running.Wait()
	}()
	select {
	case <-done:
		return true
	case <-time.After(timeout):
		return false
	}
}

// logWriter logs what net/http has to say: handshakes that failed and the like.
type logWriter struct{ logger klog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.logger.V(4).Info("Kubelet API connection", "problem", string(line))
	return len(line), nil
}

package simhost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"nestling.dev/nestling/pkg/pki"
)

// Timeouts of streams, as a kubelet's.
const (
	streamIdleTimeout     = 4 * time.Hour
	streamCreationTimeout = 30 * time.Second
)

// kubeletAPI answers for the kubelets of all nodes: logs, exec, attach and
// port-forward. KWOK has such a server too; its exec runs programs of this
// machine, which a sandbox had better not.
type kubeletAPI struct {
	listener net.Listener
	server   *http.Server

	// client reads pods of the host; set before ready, when the API is up.
	client kubernetes.Interface
}

// newKubeletAPI listens on a free port of 127.0.0.1, whatever address the node
// claims to have; dial leads there.
func newKubeletAPI(bundle *pki.Bundle, nodes int) (*kubeletAPI, error) {
	leaf := pki.Leaf{CommonName: "simulated-kubelets", Server: true}
	for number := 1; number <= nodes; number++ {
		leaf.DNSNames = append(leaf.DNSNames, NodeName(number))
		leaf.IPs = append(leaf.IPs, nodeIP(number))
	}
	certPEM, keyPEM, err := bundle.Issue(leaf)
	if err != nil {
		return nil, fmt.Errorf("simulated host: kubelets: %w", err)
	}
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("simulated host: kubelets: %w", err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(bundle.CAPEM())
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("simulated host: kubelets: %w", err)
	}

	k := &kubeletAPI{listener: listener}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.streamed(serveExec))
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", k.streamed(serveAttach))
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.portForward)
	k.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // handshakes cut by a client
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{certificate},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    clients,
			NextProtos:   []string{"http/1.1"}, // connections must be upgradable
		},
	}
	return k, nil
}

// dial connects to the kubelet of any node.
func (k *kubeletAPI) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp4", k.listener.Addr().String())
}

func (k *kubeletAPI) run(ctx context.Context, ready func()) error {
	ended := make(chan error, 1)
	go func() { ended <- k.server.ServeTLS(k.listener, "", "") }()
	ready()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		err := k.server.Close()
		<-ended
		return err
	}
}

// container finds the pod and says whether it has the container; if not, it has
// answered the request.
func (k *kubeletAPI) container(w http.ResponseWriter, r *http.Request) (*corev1.Pod, string, bool) {
	pod, err := k.client.CoreV1().Pods(r.PathValue("namespace")).Get(r.Context(), r.PathValue("pod"), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return nil, "", false
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, "", false
	}
	name := r.PathValue("container")
	if name != "" && statusOf(pod, name) == nil {
		http.Error(w, fmt.Sprintf("container not found (%q)", name), http.StatusNotFound)
		return nil, "", false
	}
	return pod, name, true
}

func statusOf(pod *corev1.Pod, container string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// streamed answers requests for the streams of a container's program.
func (k *kubeletAPI) streamed(serve func(w http.ResponseWriter, r *http.Request, pod *corev1.Pod, container string, streams *remotecommand.Options)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pod, container, ok := k.container(w, r)
		if !ok {
			return
		}
		streams, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		serve(w, r, pod, container, streams)
	}
}

func serveExec(w http.ResponseWriter, r *http.Request, pod *corev1.Pod, container string, streams *remotecommand.Options) {
	remotecommand.ServeExec(w, r, player{pod}, pod.Name, string(pod.UID), container, r.Form["command"],
		streams, streamIdleTimeout, streamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

func serveAttach(w http.ResponseWriter, r *http.Request, pod *corev1.Pod, container string, streams *remotecommand.Options) {
	remotecommand.ServeAttach(w, r, player{pod}, pod.Name, string(pod.UID), container,
		streams, streamIdleTimeout, streamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

func (k *kubeletAPI) portForward(w http.ResponseWriter, r *http.Request) {
	pod, _, ok := k.container(w, r)
	if !ok {
		return
	}
	ports, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, player{pod}, pod.Name, string(pod.UID), ports,
		streamIdleTimeout, streamCreationTimeout, portforward.SupportedProtocols)
}

func (k *kubeletAPI) logs(w http.ResponseWriter, r *http.Request) {
	pod, container, ok := k.container(w, r)
	if !ok {
		return
	}
	query, err := parseLogQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := statusOf(pod, container)
	state := status.State
	if query.previous {
		state = status.LastTerminationState
	}
	started, ended, ok := lifeOf(state)
	if !ok {
		http.Error(w, fmt.Sprintf("container %q in pod %q has no such logs", container, pod.Name), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	out := &flushing{ResponseWriter: w}
	if err := query.write(r.Context(), out, hostname(pod)+"/"+container, started, ended); err != nil && !errors.Is(err, context.Canceled) {
		return // the client has gone
	}
}

// flushing sends what is written at once, for those who follow.
type flushing struct{ http.ResponseWriter }

func (f *flushing) Write(text []byte) (int, error) {
	n, err := f.ResponseWriter.Write(text)
	if flusher, ok := f.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	return n, err
}

package kubeletapi

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericrest "k8s.io/apiserver/pkg/registry/generic/rest"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes"
	clientrest "k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install" // the tenant's API server decodes options
	kubeletclient "k8s.io/kubernetes/pkg/kubelet/client"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	podrest "k8s.io/kubernetes/pkg/registry/core/pod/rest"

	"nestling.dev/nestling/pkg/pki"
)

const (
	clientName = "kube-apiserver-kubelet-client"
	podUID     = types.UID("11111111-2222-3333-4444-555555555555")
)

func pemOf(certificate []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
}

// resolveWeb knows one pod, default/web-0.
var resolveWeb = ResolverFunc(func(namespace, name string) (Target, error) {
	if namespace != "default" || name != "web-0" {
		return Target{}, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, name)
	}
	return Target{Namespace: hostNamespace, Name: hostPod, UID: podUID, Containers: []string{"app", "init", "debugger"}}, nil
})

// running is a server under test and what it takes to talk to it.
type running struct {
	*Server
	pki  *pki.Bundle
	stop func() error // ends Run and waits for it; works once
}

func start(t testing.TB, host *clientrest.Config, change func(*Options)) *running {
	t.Helper()
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	certificate, key, err := bundle.Issue(pki.Leaf{CommonName: "kubelet-api", Server: true})
	require.NoError(t, err)
	options := Options{
		Host: host, Resolver: resolveWeb,
		Certificate: certificate, Key: key, ClientCA: bundle.CAPEM(), ClientName: clientName,
	}
	if change != nil {
		change(&options)
	}
	server, err := New(options)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(ready) }) }()
	<-ready
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { require.NoError(t, stop()) })
	return &running{Server: server, pki: bundle, stop: stop}
}

// kubeletTransport is how the API server reaches kubelets, as client with a name.
func (r *running) kubeletTransport(t testing.TB, name string) http.RoundTripper {
	t.Helper()
	certificate, key, err := r.pki.Issue(pki.Leaf{CommonName: name, Client: true})
	require.NoError(t, err)
	return r.transport(t, transport.TLSConfig{Insecure: true, CertData: certificate, KeyData: key})
}

func (r *running) transport(t testing.TB, config transport.TLSConfig) http.RoundTripper {
	t.Helper()
	tripper, err := transport.New(&transport.Config{TLS: config, DialHolder: &transport.DialHolder{Dial: r.Dial}})
	require.NoError(t, err)
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(tripper) })
	return tripper
}

// tenant is upstream's implementation of the pod subresources in front of the server:
// what a client of the tenant's API talks to.
func (r *running) tenant(t testing.TB, nodeFeatures ...string) *clientrest.Config {
	t.Helper()
	tripper := r.kubeletTransport(t, clientName)
	nodes := nodes{tripper, nodeFeatures}
	mux := http.NewServeMux()
	prefix := "/api/v1/namespaces/{namespace}/pods/{name}/"
	mux.HandleFunc(prefix+"log", func(w http.ResponseWriter, req *http.Request) { serveLog(w, req, nodes) })
	mux.Handle(prefix+"exec", connect(&podrest.ExecREST{Store: pods{}, KubeletConn: nodes}))
	mux.Handle(prefix+"attach", connect(&podrest.AttachREST{Store: pods{}, KubeletConn: nodes}))
	mux.Handle(prefix+"portforward", connect(&podrest.PortForwardREST{Store: pods{}, KubeletConn: nodes}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &clientrest.Config{Host: server.URL}
}

func (r *running) client(t testing.TB) kubernetes.Interface {
	t.Helper()
	return kubernetes.NewForConfigOrDie(r.tenant(t))
}

// nodes all have the same kubelet.
type nodes struct {
	transport http.RoundTripper
	features  []string
}

func (n nodes) GetConnectionInfo(context.Context, types.NodeName) (*kubeletclient.ConnectionInfo, error) {
	return &kubeletclient.ConnectionInfo{
		Scheme: "https", Hostname: "node-1", Port: "10250",
		Transport: n.transport, InsecureSkipTLSVerifyTransport: n.transport, NodeFeatures: n.features,
	}, nil
}

// pods exist in the tenant's storage whatever they are called; they have a container
// that the host does not know.
type pods struct{}

func (pods) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	return &api.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: request.NamespaceValue(ctx), Name: name},
		Spec: api.PodSpec{
			NodeName:       "node-1",
			InitContainers: []api.Container{{Name: "init"}},
			Containers:     []api.Container{{Name: "app"}, {Name: "istio-proxy"}},
			EphemeralContainers: []api.EphemeralContainer{
				{EphemeralContainerCommon: api.EphemeralContainerCommon{Name: "debugger"}},
			},
		},
	}, nil
}

func serveLog(w http.ResponseWriter, req *http.Request, nodes nodes) {
	ctx := request.WithNamespace(req.Context(), req.PathValue("namespace"))
	options := &api.PodLogOptions{}
	err := legacyscheme.ParameterCodec.DecodeParameters(req.URL.Query(), corev1.SchemeGroupVersion, options)
	if err != nil {
		fail(w, req, err)
		return
	}
	location, tripper, err := pod.LogLocation(ctx, pods{}, nodes, req.PathValue("name"), options)
	if err != nil {
		fail(w, req, err)
		return
	}
	stream, _, _, err := (&genericrest.LocationStreamer{
		Location: location, Transport: tripper, Flush: options.Follow,
		ResponseChecker: genericrest.NewGenericHttpResponseChecker(api.Resource("pods/log"), req.PathValue("name")),
		RedirectChecker: genericrest.PreventRedirects,
	}).InputStream(ctx, "v1", "text/plain")
	if err != nil {
		fail(w, req, err)
		return
	}
	defer func() { _ = stream.Close() }()
	if _, err := io.Copy(flushing{w, http.NewResponseController(w)}, stream); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func connect(storage rest.Connecter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx := request.WithNamespace(req.Context(), req.PathValue("namespace"))
		ctx = request.WithRequestInfo(ctx, &request.RequestInfo{Verb: "create"})
		options, _, _ := storage.NewConnectOptions()
		if err := legacyscheme.ParameterCodec.DecodeParameters(req.URL.Query(), corev1.SchemeGroupVersion, options); err != nil {
			fail(w, req, err)
			return
		}
		handler, err := storage.Connect(ctx, req.PathValue("name"), options, responder{w, req})
		if err != nil {
			fail(w, req, err)
			return
		}
		handler.ServeHTTP(w, req.WithContext(ctx))
	})
}

type responder struct {
	w   http.ResponseWriter
	req *http.Request
}

func (r responder) Error(err error)                           { fail(r.w, r.req, err) }
func (r responder) Object(statusCode int, obj runtime.Object) { panic("not a stream") }

func fail(w http.ResponseWriter, req *http.Request, err error) {
	responsewriters.ErrorNegotiated(err, legacyscheme.Codecs, corev1.SchemeGroupVersion, w, req)
}

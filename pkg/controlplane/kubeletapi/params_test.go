package kubeletapi

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// hostConfig is of a host that is never dialed.
func hostConfig() *rest.Config {
	return &rest.Config{Host: "https://host.invalid", BearerToken: hostToken}
}

func verified(name string) *tls.ConnectionState {
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
}

// recorder is a host that refuses everything and remembers it.
type recorder struct{ requests []*http.Request }

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.requests = append(r.requests, request)
	return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("no"))}, nil
}

func TestHostOptions(t *testing.T) {
	t.Parallel()
	host, err := newHostAPI(hostConfig())
	require.NoError(t, err)
	target := Target{Namespace: hostNamespace, Name: hostPod}
	for name, test := range map[string]struct {
		action action
		query  string
		tunnel bool
		want   string // the host's query, sorted
		err    string
	}{
		"log, plain":                   {action: actionLogs, want: "container=app"},
		"log, everything":              {action: actionLogs, query: "follow=true&previous=true&timestamps=true&sinceSeconds=5&sinceTime=2024-05-06T07:08:09Z&tailLines=10&limitBytes=100&stream=Stderr", want: "container=app&follow=true&limitBytes=100&previous=true&sinceSeconds=5&sinceTime=2024-05-06T07%3A08%3A09Z&stream=Stderr&tailLines=10&timestamps=true"},
		"log, zero is not absent":      {action: actionLogs, query: "tailLines=0", want: "container=app&tailLines=0"},
		"log, all streams is the rule": {action: actionLogs, query: "stream=All", want: "container=app"},
		"log, false is absent":         {action: actionLogs, query: "follow=false", want: "container=app"},
		"log, another container":       {action: actionLogs, query: "container=other&insecureSkipTLSVerifyBackend=true", want: "container=app"},
		"log, bad number":              {action: actionLogs, query: "tailLines=x", err: `unable to parse tailLines: "x"`},
		"log, bad time":                {action: actionLogs, query: "sinceTime=yesterday", err: `unable to parse sinceTime: "yesterday"`},
		"log, bad stream":              {action: actionLogs, query: "stream=Both", err: `unable to parse stream: "Both"`},
		"exec":                         {action: actionExec, query: "input=1&output=1&tty=1&command=sh&command=-c&command=echo+%26%26+%E2%98%83", want: "command=sh&command=-c&command=echo+%26%26+%E2%98%83&container=app&stdin=true&stdout=true&tty=true"},
		"exec, errors only":            {action: actionExec, query: "error=1&command=ls", want: "command=ls&container=app&stderr=true"},
		"exec, empty arguments":        {action: actionExec, query: "output=1&command=echo&command=", want: "command=echo&command=&container=app&stdout=true"},
		"exec, no stream":              {action: actionExec, query: "command=ls", err: "you must specify at least 1 of stdin, stdout, stderr"},
		"exec, the host's names":       {action: actionExec, query: "stdin=true&stdout=true&container=other&output=1&command=ls", want: "command=ls&container=app&stdout=true"},
		"attach":                       {action: actionAttach, query: "input=1&output=1&error=1&command=ls", want: "container=app&stderr=true&stdin=true&stdout=true"},
		"port-forward, tunnel":         {action: actionPortForward, query: "port=80", tunnel: true, want: ""},
		"port-forward, WebSocket":      {action: actionPortForward, query: "port=80,81&port=443", want: "ports=80&ports=81&ports=443"},
		"port-forward, no port":        {action: actionPortForward, err: `query parameter "port" is required`},
		"port-forward, port 0":         {action: actionPortForward, query: "port=0", err: `unable to parse "0" as a port`},
		"port-forward, port 65536":     {action: actionPortForward, query: "port=65536", err: `unable to parse "65536" as a port`},
		"port-forward, empty port":     {action: actionPortForward, query: "port=80,", err: `unable to parse "" as a port`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			query, err := url.ParseQuery(test.query)
			require.NoError(t, err)
			options, err := hostOptions(route{action: test.action, container: "app"}, query, test.tunnel)
			if test.err != "" {
				require.EqualError(t, err, test.err)
				return
			}
			require.NoError(t, err)
			location, err := host.url(target, subresource[test.action], options)
			require.NoError(t, err)
			require.Equal(t, test.want, location.RawQuery)
			require.Equal(t, hostPath+"/"+subresource[test.action], location.EscapedPath())
		})
	}
}

func TestHostURLKeepsAPrefix(t *testing.T) {
	t.Parallel()
	host, err := newHostAPI(&rest.Config{Host: "https://host.invalid/k8s/clusters/c-1"})
	require.NoError(t, err)
	options, err := hostOptions(route{action: actionLogs, container: "app"}, nil, false)
	require.NoError(t, err)
	location, err := host.url(Target{Namespace: hostNamespace, Name: hostPod}, "log", options)
	require.NoError(t, err)
	require.Equal(t, "https://host.invalid/k8s/clusters/c-1"+hostPath+"/log?container=app", location.String())
}

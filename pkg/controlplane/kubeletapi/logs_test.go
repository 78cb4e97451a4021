package kubeletapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func TestLogs(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "a line of "+r.URL.Query().Get("container")+"\n")
	})
	client := start(t, host.config(), nil).client(t)
	for _, container := range []string{"app", "init", "debugger"} {
		log, err := client.CoreV1().Pods("default").GetLogs("web-0", &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
		require.NoError(t, err)
		require.Equal(t, "a line of "+container+"\n", string(log))
	}
	lines, limit, since := int64(7), int64(1000), metav1.Unix(1700000000, 0)
	_, err := client.CoreV1().Pods("default").GetLogs("web-0", &corev1.PodLogOptions{
		Container: "app", Previous: true, Timestamps: true, TailLines: &lines, LimitBytes: &limit, SinceTime: &since,
	}).DoRaw(t.Context())
	require.NoError(t, err)
	asked := host.requests()
	last := asked[len(asked)-1]
	require.Equal(t, http.MethodGet, last.Method)
	require.Equal(t, hostPath+"/log?container=app&limitBytes=1000&previous=true&sinceTime=2023-11-14T22%3A13%3A20Z&tailLines=7&timestamps=true", last.URL.RequestURI())
}

func TestFollowedLinesComeAtOnce(t *testing.T) {
	t.Parallel()
	more, gone := make(chan string), make(chan struct{})
	host := newFakeHost(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for {
			select {
			case line := <-more:
				_, _ = io.WriteString(w, line)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	client := start(t, host.config(), nil).client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan io.ReadCloser, 1)
	go func() {
		stream, err := client.CoreV1().Pods("default").GetLogs("web-0", &corev1.PodLogOptions{Container: "app", Follow: true}).Stream(ctx)
		if err != nil {
			stream = io.NopCloser(strings.NewReader(err.Error()))
		}
		opened <- stream
	}()
	more <- "one\n"
	stream := <-opened
	lines := bufio.NewReader(stream)
	for _, next := range []string{"two\n", "three\n", ""} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.NotEmpty(t, line)
		if next != "" {
			more <- next
		}
	}
	cancel() // the user's Ctrl-C ends the host's stream too
	_ = stream.Close()
	<-gone
}

func TestABrokenLogDoesNotLookWhole(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half a li")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	stream, err := start(t, host.config(), nil).client(t).CoreV1().Pods("default").GetLogs("web-0", &corev1.PodLogOptions{Container: "app"}).Stream(t.Context())
	require.NoError(t, err)
	defer func() { _ = stream.Close() }()
	text, err := io.ReadAll(stream)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "half a li", string(text))
}

func TestStopEndsLogs(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "line\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := start(t, host.config(), nil)
	stream, err := server.client(t).CoreV1().Pods("default").GetLogs("web-0", &corev1.PodLogOptions{Container: "app", Follow: true}).Stream(t.Context())
	require.NoError(t, err)
	defer func() { _ = stream.Close() }()
	require.NoError(t, server.stop())
	_, err = io.ReadAll(stream)
	require.Error(t, err)
}

func TestLogRefusals(t *testing.T) {
	t.Parallel()
	refusing := func(code int, body string) func(t *testing.T) *rest.Config {
		return func(t *testing.T) *rest.Config {
			return newFakeHost(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(code)
				_, _ = io.WriteString(w, body)
			}).config()
		}
	}
	for name, test := range map[string]struct {
		pod, container string
		host           func(t *testing.T) *rest.Config
		want           string
		reason         metav1.StatusReason
	}{
		"no previous container": {
			host: refusing(400, `{"kind":"Status","status":"Failure","code":400,"reason":"BadRequest","message":"previous terminated container \"app\" in pod \"`+hostPod+`\" not found"}`),
			want: `previous terminated container "app" in pod "web-0" not found`, reason: metav1.StatusReasonBadRequest,
		},
		"not started yet": {
			host: refusing(400, `{"kind":"Status","status":"Failure","code":400,"reason":"BadRequest","message":"container \"app\" in pod \"`+hostPod+`\" is waiting to start: ContainerCreating"}`),
			want: `container "app" in pod "web-0" is waiting to start: ContainerCreating`, reason: metav1.StatusReasonBadRequest,
		},
		"too long an answer": {
			host: refusing(400, strings.Repeat("x", 2*maxRefusalBytes)),
			want: strings.Repeat("x", 50000), reason: metav1.StatusReasonBadRequest, // the API server's own limit
		},
		"no such pod":                {pod: "web-1", host: refusing(200, "no"), want: "the server could not find the requested resource ( pods/log web-1)", reason: metav1.StatusReasonNotFound},
		"a container of the host's":  {container: "istio-proxy", host: refusing(200, "no"), want: "the server could not find the requested resource ( pods/log web-0)", reason: metav1.StatusReasonNotFound},
		"our own rights are missing": {host: refusing(401, ""), want: "this cluster's own credentials", reason: metav1.StatusReasonInternalError},
		"host does not answer": {
			host: func(*testing.T) *rest.Config { return &rest.Config{Host: "https://127.0.0.1:1"} },
			want: "Internal error occurred: the host cluster's API does not answer; what runs already keeps running, try again", reason: metav1.StatusReasonInternalError,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod, container := test.pod, test.container
			if pod == "" {
				pod = "web-0"
			}
			if container == "" {
				container = "app"
			}
			client := start(t, test.host(t), nil).client(t)
			_, err := client.CoreV1().Pods("default").GetLogs(pod, &corev1.PodLogOptions{Container: container}).Stream(t.Context())
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.reason, apierrors.ReasonForError(err))
			require.NotContains(t, err.Error(), hostPod)
		})
	}
}

func TestResolverThatFails(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, nil)
	client := start(t, host.config(), func(options *Options) {
		options.Resolver = ResolverFunc(func(_, _ string) (Target, error) { return Target{}, errors.New("cache of hosts/secret") })
	}).client(t)
	_, err := client.CoreV1().Pods("default").GetLogs("web-0", &corev1.PodLogOptions{Container: "app"}).Stream(t.Context())
	require.EqualError(t, err, `Internal error occurred: unable to find pod "web-0" on the host`)
	require.Empty(t, host.requests())
}

package serviceip

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
	"nestling.dev/nestling/syncer/resource"
)

// The rest is told in stories/, between real API servers.

// hostBehind is an allocator whose host is a handler.
func hostBehind(t testing.TB, handler http.HandlerFunc) *Host {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json", NegotiatedSerializer: scheme.Codecs}}
	client, err := corev1client.NewForConfig(config)
	require.NoError(t, err)
	return &Host{Services: client, Translate: toHost, FieldManager: "nestling"}
}

func toHost(virtual *corev1.Service) (*corev1.Service, error) {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "t-web-abc", Namespace: "hosts"}, Spec: virtual.Spec}, nil
}

func web() *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}
}

func TestRefusalsInVirtualNames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status metav1.Status
		want   string
		is     func(error) bool
	}{
		"quota": {
			apierrors.NewForbidden(corev1.Resource("services"), "t-web-abc", errors.New("exceeded quota: small, requested: services=1, used: services=5, limited: services=5")).ErrStatus,
			`services "web" is forbidden: exceeded quota: small, requested: services=1, used: services=5, limited: services=5`, apierrors.IsForbidden,
		},
		"our own rights": {
			apierrors.NewForbidden(corev1.Resource("services"), "t-web-abc", errors.New(`User "system:serviceaccount:hosts:t" cannot create resource "services" in API group "" in the namespace "hosts"`)).ErrStatus,
			"Internal error occurred: this cluster's own account may not create services on the host cluster; whoever runs it must grant that", apierrors.IsInternalError,
		},
		"a webhook that fails": {
			apierrors.NewInternalError(errors.New(`failed calling webhook "w": hosts/t-web-abc`)).ErrStatus,
			`Internal error occurred: failed calling webhook "w": default/web`, apierrors.IsInternalError,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := hostBehind(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(int(test.status.Code))
				status := test.status
				status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
				_ = json.NewEncoder(w).Encode(status)
			})
			_, err := host.Allocate(t.Context(), web(), false)
			require.EqualError(t, err, test.want)
			require.True(t, test.is(err), "%#v", err)
		})
	}
}

func TestAHostThatHangs(t *testing.T) {
	t.Parallel()
	host := hostBehind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or net/http does not notice that the client goes
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := host.Allocate(ctx, web(), false)
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	require.EqualError(t, err, hosttext.Unreachable)
}

func TestWhatCannotBeTranslated(t *testing.T) {
	t.Parallel()
	host := hostBehind(t, func(http.ResponseWriter, *http.Request) { t.Error("the host was asked") })
	host.Translate = func(*corev1.Service) (*corev1.Service, error) {
		return nil, resource.Rejectf("ExternalIPsForbidden", "spec.externalIPs is not allowed")
	}
	_, err := host.Allocate(t.Context(), web(), false)
	require.True(t, apierrors.IsForbidden(err))
	require.EqualError(t, err, `services "web" is forbidden: spec.externalIPs is not allowed`)

	host.Translate = func(*corev1.Service) (*corev1.Service, error) { return nil, errors.New("not ready") }
	_, err = host.Allocate(t.Context(), web(), false)
	require.True(t, apierrors.IsInternalError(err))
}

// The host Service of one that is gone may be there for a moment; what another tenant has is
// not waited for.
func TestWhatIsAskedForIsAboutToBeFree(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		nodePort    int32 // that ours has
		posts, code int
	}{
		"ours is about to go": {nodePort: 30080, posts: 4, code: 0},
		"it is another's":     {nodePort: 30081, posts: 3, code: http.StatusUnprocessableEntity},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			posts, lists := 0, 0
			host := hostBehind(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				answer := func(code int, object any) {
					w.WriteHeader(code)
					_ = json.NewEncoder(w).Encode(object)
				}
				switch {
				case r.Method == http.MethodPost:
					if posts++; lists < 2 {
						refused := apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), "t-web-abc", nil).ErrStatus
						answer(int(refused.Code), refused)
						return
					}
					answer(http.StatusCreated, &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}})
				case r.URL.Path == "/api/v1/namespaces/hosts/services":
					lists++
					answer(http.StatusOK, &corev1.ServiceList{
						TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"},
						Items:    []corev1.Service{{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, NodePort: test.nodePort}}}}},
					})
				default:
					missing := apierrors.NewNotFound(corev1.Resource("services"), "t-web-abc").ErrStatus
					answer(int(missing.Code), missing)
				}
			})
			virtual := web()
			virtual.Spec.Ports = []corev1.ServicePort{{Port: 80, NodePort: 30080}}
			_, err := host.Allocate(t.Context(), virtual, false)
			require.Equal(t, test.code == 0, err == nil, "%v", err)
			require.Equal(t, test.code != 0, apierrors.IsInvalid(err), "%v", err)
			require.Equal(t, test.posts, posts)
		})
	}
}

func TestSpecPatch(t *testing.T) {
	t.Parallel()
	live := &corev1.Service{ObjectMeta: metav1.ObjectMeta{UID: "uid-1", ResourceVersion: "7", Labels: map[string]string{"of": "the host"}}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.1.1", LoadBalancerClass: new("x"), Ports: []corev1.ServicePort{{Port: 80, NodePort: 30000}},
	}}
	desired := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIP: "10.96.1.1", Ports: []corev1.ServicePort{{Port: 80}, {Port: 81}}}}
	patch, err := specPatch(live, desired)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(`{"metadata":{"resourceVersion":"7","uid":"uid-1"},"spec":{"loadBalancerClass":null,"ports":[{"port":80,"targetPort":0},{"port":81,"targetPort":0}],"type":"NodePort"}}`, string(patch)))
	patch, err = specPatch(live, live)
	require.NoError(t, err)
	require.Equal(t, `{"metadata":{"resourceVersion":"7","uid":"uid-1"}}`, string(patch))
}

// Somebody has written the host Service in between: it is read again, and the patch is made
// of what it is now.
func TestAnUpdateThatMeetsAnother(t *testing.T) {
	t.Parallel()
	types := []corev1.ServiceType{corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeClusterIP} // as it is read first and then
	var patches []string
	host := hostBehind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		live := &corev1.Service{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
			ObjectMeta: metav1.ObjectMeta{Name: "t-web-abc", Namespace: "hosts", UID: "uid-1", ResourceVersion: string(types[0])},
			Spec:       corev1.ServiceSpec{Type: types[0]},
		}
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(live)
			return
		}
		patch, _ := io.ReadAll(r.Body)
		patches = append(patches, string(patch))
		if len(patches) == 1 {
			types = types[1:]
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(apierrors.NewConflict(corev1.Resource("services"), "t-web-abc", errors.New("changed")).ErrStatus)
			return
		}
		live.Spec.Type = corev1.ServiceTypeLoadBalancer
		_ = json.NewEncoder(w).Encode(live)
	})
	host.Now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	virtual := web()
	virtual.UID, virtual.ResourceVersion, virtual.Spec.Type = "virtual-1", "12", corev1.ServiceTypeLoadBalancer
	got, err := host.Allocate(t.Context(), virtual, false)
	require.NoError(t, err)
	require.Equal(t, corev1.ServiceTypeLoadBalancer, got.Spec.Type)
	require.Equal(t, []string{
		`{"metadata":{"annotations":{"nestling.dev/admission":"12 2026-01-02T03:04:05Z"},"resourceVersion":"LoadBalancer","uid":"uid-1"}}`,
		`{"metadata":{"annotations":{"nestling.dev/admission":"12 2026-01-02T03:04:05Z"},"resourceVersion":"ClusterIP","uid":"uid-1"},"spec":{"type":"LoadBalancer"}}`,
	}, patches)
}

func TestTheHostsWordsAreTheKinds(t *testing.T) {
	t.Parallel()
	host := &Host{Words: func(virtual *corev1.Service, text string) string { return virtual.Name + ": " + text }}
	virtual := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	refused := apierrors.NewForbidden(corev1.Resource("services"), "t-web", errors.New("quota"))
	require.ErrorContains(t, host.words(virtual, &corev1.Service{}).Error(refused), `web: services "t-web" is forbidden: quota`)
}

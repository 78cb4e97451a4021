package access_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clocktesting "k8s.io/utils/clock/testing"

	"nestling.dev/nestling/pkg/access"
	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/deploy"
)

// patience is for a busy machine.
const patience = 20 * time.Second

// world is one API server that plays the host and the tenant: their objects do not meet.
type world struct {
	*controlplanetest.Server
	client kubernetes.Interface
	clock  *clocktesting.FakeClock
}

// server is shared: each test has namespaces of its own.
var server *controlplanetest.Server

func TestMain(m *testing.M) { os.Exit(controlplanetest.Main(m, &server)) }

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(t, server)
}

func worldOn(t *testing.T, server *controlplanetest.Server) *world {
	t.Helper()
	client, err := kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	return &world{Server: server, client: client, clock: clocktesting.NewFakeClock(time.Now())}
}

// options of a tenant in a host namespace of its own.
func (w *world) options(t *testing.T, namespace string) access.Options {
	t.Helper()
	w.namespace(t, namespace)
	anchor, err := w.client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "team-a-anchor"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return access.Options{
		Host: w.client, Names: deploy.Names{Tenant: "team-a", Namespace: namespace}, PKI: w.PKI, Clock: w.clock,
		Owner:   metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: anchor.Name, UID: anchor.UID},
		Service: "team-a", SetSANs: func([]string) error { return nil },
		FixedURL: w.Config.Host, InClusterURL: "https://team-a." + namespace + ".svc:443",
		Virtual: func() (kubernetes.Interface, error) { return w.client, nil },
	}
}

func (w *world) namespace(t *testing.T, name string) {
	t.Helper()
	_, err := w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// run runs a Keeper until stop, and returns when it is ready.
func run(t *testing.T, options access.Options) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- access.New(options).Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		require.NoError(t, err)
		t.Fatal("it ended before it was ready")
	}
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	return stop
}

func (w *world) secret(t require.TestingT, namespace, name string) *corev1.Secret {
	secret, err := w.client.CoreV1().Secrets(namespace).Get(context.Background(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return secret
}

// later lets time pass until what is wanted holds.
func (w *world) later(t *testing.T, step time.Duration, wanted func(c *assert.CollectT)) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		w.clock.Step(step)
		wanted(c)
	}, patience, 50*time.Millisecond)
}

func restConfig(t require.TestingT, text []byte) *rest.Config {
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	require.NoError(t, err)
	return config
}

func clientCertificate(t require.TestingT, config *rest.Config) *x509.Certificate {
	block, _ := pem.Decode(config.CertData)
	require.NotNil(t, block)
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return certificate
}

func TestTheSecretComesWithTheAddressAndFollowsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	options := w.options(t, "balanced")
	options.FixedURL, options.Exposure = "", config.Exposure{Type: config.ExposeLoadBalancer}
	options.SANs = []string{"team-a.balanced.svc"}
	var mu sync.Mutex
	var sans [][]string
	options.SetSANs = func(names []string) error {
		mu.Lock()
		defer mu.Unlock()
		sans = append(sans, names)
		return nil
	}
	services := w.client.CoreV1().Services("balanced")
	_, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	stop := run(t, options)
	_, err = w.client.CoreV1().Secrets("balanced").Get(t.Context(), "team-a-kubeconfig", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "who waits for it waits for something that works: %v", err)

	balance := func(ingress string) {
		_, err := services.Patch(t.Context(), "team-a", types.MergePatchType, []byte(`{"status":{"loadBalancer":{"ingress":`+ingress+`}}}`), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	}
	reached := func(server, name string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			secret := w.secret(c, "balanced", "team-a-kubeconfig")
			require.Equal(c, server, restConfig(c, secret.Data["config"]).Host)
		}, patience, 20*time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		require.Contains(t, sans[len(sans)-1], name)
		require.Contains(t, sans[len(sans)-1], "team-a.balanced.svc")
	}
	balance(`[{"ip":"198.51.100.7"}]`)
	reached("https://198.51.100.7:443", "198.51.100.7")
	balance(`[{"hostname":"lb.example"}]`)
	reached("https://lb.example:443", "lb.example")
	before := w.secret(t, "balanced", "team-a-kubeconfig")
	balance("null")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		mu.Lock()
		defer mu.Unlock()
		require.NotEmpty(c, sans)
	}, patience, 20*time.Millisecond)
	// A process that starts while there is no address keeps the one that clients have.
	stop()
	run(t, options)
	require.Equal(t, before.ResourceVersion, w.secret(t, "balanced", "team-a-kubeconfig").ResourceVersion)
	reached("https://lb.example:443", "lb.example")
}

// For as long as a process lives, there is a certificate that lives longer.
func TestTheAdministratorIsRenewedForYears(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run(t, w.options(t, "years"))
	begin := w.clock.Now()
	var serials []string
	for w.clock.Since(begin) < 4*365*24*time.Hour {
		w.later(t, 10*24*time.Hour, func(c *assert.CollectT) {
			certificate := clientCertificate(c, restConfig(c, w.secret(c, "years", "team-a-kubeconfig").Data["config"]))
			require.Greater(c, certificate.NotAfter.Sub(w.clock.Now()), 100*24*time.Hour)
			serial := certificate.SerialNumber.String()
			if !slices.Contains(serials, serial) {
				serials = append(serials, serial)
			}
		})
	}
	require.Greater(t, len(serials), 4)
	require.Less(t, len(serials), 8, "not more often than it must be: copies get old")

	// Somebody removes it, or writes into it.
	require.NoError(t, w.client.CoreV1().Secrets("years").Delete(t.Context(), "team-a-kubeconfig", metav1.DeleteOptions{}))
	w.later(t, time.Minute, func(c *assert.CollectT) { w.secret(c, "years", "team-a-kubeconfig") })
	_, err := w.client.CoreV1().Secrets("years").Patch(t.Context(), "team-a-kubeconfig", types.MergePatchType, []byte(`{"data":{"config":"eA=="}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	w.later(t, time.Minute, func(c *assert.CollectT) {
		require.NotEqual(c, "x", string(w.secret(c, "years", "team-a-kubeconfig").Data["config"]))
	})
}

func TestOthersKubeconfigs(t *testing.T) {
	t.Parallel()
	// The other tests' Keepers begin by removing all bindings of the tenant that they do not
	// ask for, which would be those of this test.
	w := worldOn(t, controlplanetest.Start(t, controlplanetest.Options{}))
	options := w.options(t, "others")
	w.namespace(t, "argocd")
	mark := map[string]string{deploy.KubeconfigOfAnnotation: "others/team-a"}
	secrets := w.client.CoreV1().Secrets("argocd")
	for _, secret := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: "team-a", Annotations: mark}},
		{ObjectMeta: metav1.ObjectMeta{Name: "somebodys", Annotations: mark}, Data: map[string][]byte{"theirs": []byte("1")}},
	} {
		_, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	robot := &config.ObjectRef{Namespace: "kube-system", Name: "robot"}
	options.Kubeconfigs = []config.Kubeconfig{
		{Secret: config.ObjectRef{Namespace: "argocd", Name: "team-a"}, Format: config.FormatArgoCD, ClusterName: "team-a", ServiceAccount: robot, ClusterRole: "system:aggregate-to-view"},
		{Secret: config.ObjectRef{Namespace: "argocd", Name: "somebodys"}, Format: config.FormatFlux, ClusterName: "team-a"},
		{Secret: config.ObjectRef{Namespace: "argocd", Name: "missing"}, Format: config.FormatFlux, ClusterName: "team-a"},
		{Secret: config.ObjectRef{Namespace: "others", Name: "jane"}, Format: config.FormatKubeconfig, ClusterName: "a", User: "jane", ClusterRole: "system:aggregate-to-view", Namespaces: []string{"apps"}},
		{Secret: config.ObjectRef{Namespace: "others", Name: "inside"}, Format: config.FormatFlux, ClusterName: "a", InCluster: true},
	}
	stop := run(t, options)

	// Each can do what it should, and no more. (No controller aggregates roles here.) What is not there yet is waited for: the namespace of jane's role.
	argo := func(c require.TestingT) *rest.Config {
		secret := w.secret(c, "argocd", "team-a")
		require.Equal(c, "cluster", secret.Labels["argocd.argoproj.io/secret-type"])
		require.Equal(c, w.Config.Host, string(secret.Data["server"]))
		var said struct {
			BearerToken     string
			TLSClientConfig struct{ CAData []byte }
		}
		require.NoError(c, json.Unmarshal(secret.Data["config"], &said))
		return &rest.Config{
			Host: string(secret.Data["server"]), BearerToken: said.BearerToken, TLSClientConfig: rest.TLSClientConfig{CAData: said.TLSClientConfig.CAData},
		}
	}
	jane := func(c require.TestingT) *rest.Config {
		return restConfig(c, w.secret(c, "others", "jane").Data["config"])
	}
	may := func(c require.TestingT, config *rest.Config, namespace string, want bool) {
		client, err := kubernetes.NewForConfig(config)
		require.NoError(c, err)
		_, err = client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{})
		require.Equal(c, want, err == nil, "%v", err)
		require.True(c, err == nil || apierrors.IsForbidden(err), "%v", err)
	}
	w.later(t, 10*time.Second, func(c *assert.CollectT) { may(c, argo(c), "kube-system", true) }) // which comes a moment after the server
	w.later(t, 10*time.Second, func(c *assert.CollectT) { may(c, jane(c), "apps", false) })
	w.namespace(t, "apps")
	w.later(t, 10*time.Second, func(c *assert.CollectT) { may(c, jane(c), "apps", true) })
	may(t, jane(t), "kube-system", false)
	require.Equal(t, "https://team-a.others.svc:443", restConfig(t, w.secret(t, "others", "inside").Data["value"]).Host)

	// Who reads them may do nothing with what is not for them, and nobody's Secret was touched.
	argoClient, err := kubernetes.NewForConfig(argo(t))
	require.NoError(t, err)
	_, err = argoClient.CoreV1().Secrets("kube-system").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.Equal(t, map[string][]byte{"theirs": []byte("1")}, w.secret(t, "argocd", "somebodys").Data)

	// A token is renewed within its day, and made anew with its ServiceAccount.
	first := argo(t).BearerToken
	w.later(t, time.Hour, func(c *assert.CollectT) { require.NotEqual(c, first, argo(c).BearerToken) })
	require.NoError(t, w.client.CoreV1().ServiceAccounts("kube-system").Delete(t.Context(), "robot", metav1.DeleteOptions{}))
	w.later(t, time.Minute, func(c *assert.CollectT) { may(c, argo(c), "kube-system", true) })

	// Somebody takes a binding away.
	bound, err := w.client.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{LabelSelector: access.VirtualLabel})
	require.NoError(t, err)
	require.Len(t, bound.Items, 1)
	require.NotContains(t, bound.Items[0].Name, "argocd", "a tenant need not know of the host's namespaces")
	require.NoError(t, w.client.RbacV1().ClusterRoleBindings().Delete(t.Context(), bound.Items[0].Name, metav1.DeleteOptions{}))
	w.later(t, time.Minute, func(c *assert.CollectT) { may(c, argo(c), "kube-system", true) })

	// What the configuration does not ask for any more goes, as far as the tenant's own.
	stop()
	options.Kubeconfigs = options.Kubeconfigs[4:]
	run(t, options)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := w.client.CoreV1().Secrets("others").Get(t.Context(), "jane", metav1.GetOptions{})
		require.True(c, apierrors.IsNotFound(err), "%v", err)
		bound, err := w.client.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{LabelSelector: access.VirtualLabel})
		require.NoError(c, err)
		require.Empty(c, bound.Items)
		some, err := w.client.RbacV1().RoleBindings("").List(t.Context(), metav1.ListOptions{LabelSelector: access.VirtualLabel})
		require.NoError(c, err)
		require.Empty(c, some.Items)
	}, patience, 20*time.Millisecond)
	w.secret(t, "others", "inside")
}

func TestSomebodysSecretUnderTheAdministratorsNameEndsTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	options := w.options(t, "foreign")
	_, err := w.client.CoreV1().Secrets("foreign").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a-kubeconfig"}, Data: map[string][]byte{"config": []byte("theirs")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	err = access.New(options).Run(t.Context(), func() { t.Error("it is ready") })
	require.EqualError(t, err, "host Secret foreign/team-a-kubeconfig is not this tenant's, and stays as it is: remove it, or choose another name")
	require.Equal(t, "theirs", string(w.secret(t, "foreign", "team-a-kubeconfig").Data["config"]))
}

// A tenant that ends by itself takes along what its anchor cannot own.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	options := w.options(t, "ends")
	w.namespace(t, "flux")
	for name, of := range map[string]string{"ours": "ends/team-a", "theirs": "ends/team-b"} {
		_, err := w.client.CoreV1().Secrets("flux").Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{deploy.KubeconfigOfAnnotation: of}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		options.Kubeconfigs = append(options.Kubeconfigs, config.Kubeconfig{Secret: config.ObjectRef{Namespace: "flux", Name: name}})
	}
	_, err := w.client.RbacV1().RoleBindings("flux").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "nestling:ends:team-a"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "x"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, access.Withdraw(t.Context(), options.Host, options.Names, options.Kubeconfigs))
	_, err = w.client.RbacV1().RoleBindings("flux").Get(t.Context(), "nestling:ends:team-a", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	left, err := w.client.CoreV1().Secrets("flux").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, left.Items, 1)
	require.Equal(t, "theirs", left.Items[0].Name)
}

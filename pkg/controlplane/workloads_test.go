package controlplane_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane"
)

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main:1"}}}
}

func (p *plane) deploymentMakesPods(t *testing.T) {
	labels, replicas := map[string]string{"app": "web"}, int32(3)
	_, err := p.client.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "three pods", func(ctx context.Context) bool {
		pods, err := p.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		return err == nil && len(pods.Items) == 3
	})
	managers := sets.New[string]()
	eventually(t, "the controller to have written to the Deployment, under the name that tools know", func(ctx context.Context) bool {
		web, err := p.client.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
		for _, entry := range web.ManagedFields {
			managers.Insert(entry.Manager)
		}
		return err == nil && managers.Has("kube-controller-manager")
	})
	require.Len(t, managers, 2, "%s: beside who made it", sets.List(managers))

	require.NoError(t, p.client.AppsV1().Deployments("default").Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, "the garbage collector to take them", func(ctx context.Context) bool {
		pods, err := p.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		return err == nil && len(pods.Items) == 0
	})
}

// The controller acts as its ServiceAccount: what that may not do would not be done here.
func (p *plane) namespaceGoes(t *testing.T) {
	namespaces, pods := p.client.CoreV1().Namespaces(), p.client.CoreV1().Pods("going")
	_, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "going"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the default ServiceAccount", func(ctx context.Context) bool {
		_, err := p.client.CoreV1().ServiceAccounts("going").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	spec := podSpec()
	spec.NodeName = "somewhere" // so that its deletion waits for a kubelet's word, here the test's
	_, err = pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "last"}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, namespaces.Delete(t.Context(), "going", metav1.DeleteOptions{}))
	eventually(t, "the deletion of its pod", func(ctx context.Context) bool {
		pod, err := pods.Get(ctx, "last", metav1.GetOptions{})
		return err == nil && pod.DeletionTimestamp != nil
	})
	_, err = namespaces.Get(t.Context(), "going", metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, pods.Delete(t.Context(), "last", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	eventually(t, "the end of the namespace", func(ctx context.Context) bool {
		_, err := namespaces.Get(ctx, "going", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func (p *plane) kubernetesService(t *testing.T) {
	var slices *discoveryv1.EndpointSlice
	eventually(t, "its endpoints", func(ctx context.Context) bool {
		var err error
		slices, err = p.client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		return err == nil && len(slices.Endpoints) == 1
	})
	service, err := p.client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "10.100.7.7", service.Spec.ClusterIP)
	require.Equal(t, []string{"192.0.2.1"}, slices.Endpoints[0].Addresses)
	require.Equal(t, int32(p.api.Port()), *slices.Ports[0].Port)

	// The serving certificate is good for all names under which it is reached.
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(p.bundle.CAPEM()))
	for _, name := range []string{"10.100.7.7", "192.0.2.1", "127.0.0.1", "blue.team.svc", "kubernetes.default.svc.cluster.local"} {
		connection, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(p.api.Port()), &tls.Config{RootCAs: roots, ServerName: name})
		require.NoError(t, err, name)
		require.NoError(t, connection.Close())
	}
}

func (p *plane) identities(t *testing.T) {
	config, err := p.api.ClientConfig("nestling:syncer", "nestling:system")
	require.NoError(t, err)
	syncer, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	self, err := syncer.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, "nestling:syncer", self.Status.UserInfo.Username)
	require.Contains(t, self.Status.UserInfo.Groups, "nestling:system")
	_, err = syncer.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "RBAC decides, not the certificate: %v", err)

	// Nobody may look inside without a name, but anybody may ask for health and version.
	anonymous, err := kubernetes.NewForConfig(rest.AnonymousClientConfig(p.admin))
	require.NoError(t, err)
	_, err = anonymous.Discovery().ServerVersion()
	require.NoError(t, err)
	_, err = anonymous.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)

	// A token of a ServiceAccount is bound to the cluster's own issuer and audience.
	eventually(t, "the default ServiceAccount", func(ctx context.Context) bool {
		_, err := p.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	token, err := p.client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"https://kubernetes.default.svc.cluster.local"}, token.Spec.Audiences)
	bearer := rest.AnonymousClientConfig(p.admin)
	bearer.BearerToken = token.Status.Token
	workload, err := kubernetes.NewForConfig(bearer)
	require.NoError(t, err)
	self, err = workload.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, "system:serviceaccount:default:default", self.Status.UserInfo.Username)

	// The controllers act as themselves.
	_, err = p.client.CoreV1().ServiceAccounts("kube-system").Get(t.Context(), "deployment-controller", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "system:kube-controller-manager", controlplane.ControllerManagerUser)
}

// newKubelet is a kubelet with one container, whose log never ends.
func newKubelet(t *testing.T) *httptest.Server {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containerLogs/default/talker/main" {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprintln(w, "hello")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	return server
}

// followLog opens a log and leaves it open.
func (p *plane) followLog(t *testing.T) {
	_, err := p.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "somewhere"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	node, err := p.client.CoreV1().Nodes().Get(t.Context(), "somewhere", metav1.GetOptions{})
	require.NoError(t, err)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "198.51.100.1"}} // nowhere: RFC 5737
	_, err = p.client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{})
	require.NoError(t, err)
	spec := podSpec()
	spec.NodeName = "somewhere"
	_, err = p.client.CoreV1().Pods("default").Create(t.Context(),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "talker"}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)

	p.log, err = p.client.CoreV1().Pods("default").GetLogs("talker", &corev1.PodLogOptions{Follow: true}).Stream(context.WithoutCancel(t.Context()))
	require.NoError(t, err)
	line, err := bufio.NewReader(p.log).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
}

// claimProtection shows that the finalizers which admission adds to claims are
// also removed: without that controller no claim could ever be deleted.
func (p *plane) claimProtection(t *testing.T) {
	claims := p.client.CoreV1().PersistentVolumeClaims("default")
	_, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, claims.Delete(t.Context(), "data", metav1.DeleteOptions{}))
	eventually(t, "the claim to go", func(ctx context.Context) bool {
		_, err := claims.Get(ctx, "data", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

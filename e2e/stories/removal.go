package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
)

func removal() []Story {
	return append([]Story{
		{Name: "a tenant runs where Pod Security is restricted, as any user", Alone: true, Real: true, Run: restricted},
		{Name: "a tenant whose manifests are deleted leaves nothing", Alone: true, Run: removed},
	}, fleetStories()...)
}

// guest is the name of the tenant that these stories install.
const guest = "team-c"

// compliant is a pod that the restricted profile admits.
const compliant = `
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: main
    image: IMAGE
    command: IDLE
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys}}]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

func removed(t *testing.T, w *World) {
	everything := newScan(t, w)
	tenant, err := w.Install(t.Context(), guest)
	require.NoError(t, err)
	furnish(t, w, tenant)
	before := everything.of(t, guest)
	t.Logf("the tenant has on the host: %s", strings.Join(before, ", "))
	require.NotEmpty(t, before)
	begin := time.Now()
	require.NoError(t, w.Uninstall(t.Context(), guest))
	everything.waitNone(t, guest)
	w.Report(fmt.Sprintf("After its manifests were deleted, a tenant with %d objects on the host was gone within %.1f s", len(before), time.Since(begin).Seconds()))
	// It took nothing of others with it.
	for _, neighbour := range []*Tenant{w.A, w.B} {
		require.Subset(t, everything.of(t, neighbour.Name), []string{
			"configmaps/" + neighbour.Name + "-anchor", "secrets/" + neighbour.Name + "-pki", "secrets/" + neighbour.Name + "-kubeconfig",
			"services/" + neighbour.Name, "serviceaccounts/" + neighbour.Name + "-workload",
		})
		waitAPI(t, neighbour)
	}
}

// furnish gives a tenant one of everything that goes to the host.
func furnish(t *testing.T, w *World, tenant *Tenant) *corev1.Pod {
	t.Helper()
	ctx, client, space := t.Context(), tenant.Client.CoreV1(), "furnished"
	_, err := client.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the default ServiceAccount", func(ctx context.Context) (bool, string) {
		_, err := client.ServiceAccounts(space).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, errText(err)
	})
	_, err = client.ConfigMaps(space).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.Secrets(space).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.Services(space).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	createClaim(t, w, tenant, space, `
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	return runPod(t, w, tenant, space, compliant)
}

// restricted installs a tenant into a namespace that enforces the profile, and changes
// its user as a platform that hands out users does.
func restricted(t *testing.T, w *World) {
	enforce := func(ctx context.Context, level string) {
		_, err := w.Host.CoreV1().Namespaces().Patch(ctx, w.HostNamespace, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":`+level+`}}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	enforce(t.Context(), `"restricted"`)
	t.Cleanup(func() { enforce(context.Background(), "null") })
	tenant, err := w.Install(t.Context(), guest)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.Uninstall(context.Background(), guest))
	})

	pods := w.Host.CoreV1().Pods(w.HostNamespace)
	first, err := pods.Get(t.Context(), guest+"-0", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = w.Host.AppsV1().StatefulSets(w.HostNamespace).Patch(t.Context(), guest, types.MergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"securityContext":{"runAsUser":1234567,"runAsGroup":1234567}}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, "the pod of the other user", func(ctx context.Context) (bool, string) {
		pod, err := pods.Get(ctx, guest+"-0", metav1.GetOptions{})
		return err == nil && pod.UID != first.UID && isReady(pod), errText(err)
	})
	waitAPI(t, tenant)
	pod := furnish(t, w, tenant)
	require.Equal(t, "65534", shell(t, tenant, pod, "", "id -u"))

	// What the host does not admit, the tenant hears at once.
	refusal(t, w, tenant, "default", "rude", `pods "rude" is forbidden: violates PodSecurity`, func(ctx context.Context) error {
		_, err := tenant.Client.CoreV1().Pods("default").Create(ctx, decode[corev1.Pod](t, w, `
metadata: {name: rude}
spec: {hostNetwork: true, containers: [{name: main, image: IMAGE}]}
`), metav1.CreateOptions{})
		return err
	})

	require.NoError(t, w.Uninstall(t.Context(), guest))
	newScan(t, w).waitNone(t, guest)
}

// scan finds what a tenant has on the host, of every kind that the host has.
type scan struct {
	world    *World
	metadata metadata.Interface
	kinds    map[schema.GroupVersionResource]bool // true: namespaced
}

func newScan(t *testing.T, w *World) *scan {
	t.Helper()
	client, err := metadata.NewForConfig(w.HostConfig)
	require.NoError(t, err)
	var lists []*metav1.APIResourceList
	// One of the host's APIs may be an add-on that has just been installed.
	eventually(t, "all APIs of the host", func(context.Context) (bool, string) {
		lists, err = w.Host.Discovery().ServerPreferredResources()
		return err == nil, errText(err)
	})
	out := &scan{world: w, metadata: client, kinds: map[schema.GroupVersionResource]bool{}}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for _, resource := range list.APIResources {
			if resource.Name != "events" { // which end by themselves, as on any cluster
				out.kinds[version.WithResource(resource.Name)] = resource.Namespaced
			}
		}
	}
	require.Greater(t, len(out.kinds), 40)
	return out
}

func (s *scan) of(t *testing.T, tenant string) []string {
	t.Helper()
	var found []string
	eventually(t, "an answer of every API of the host", func(ctx context.Context) (bool, string) { // an add-on may not serve for a moment
		var err error
		found, err = s.find(ctx, tenant)
		return err == nil, errText(err)
	})
	return found
}

func (s *scan) waitNone(t *testing.T, tenant string) {
	t.Helper()
	eventually(t, "nothing of "+tenant, func(ctx context.Context) (bool, string) {
		found, err := s.find(ctx, tenant)
		return err == nil && len(found) == 0, errText(err) + strings.Join(found, ", ")
	})
}

// find lists what is a tenant's by its labels, by its name, or by its owner, and the
// volumes of its claims.
func (s *scan) find(ctx context.Context, tenant string) ([]string, error) {
	var out []string
	for kind, namespaced := range s.kinds {
		where := metadata.ResourceInterface(s.metadata.Resource(kind))
		if namespaced {
			where = s.metadata.Resource(kind).Namespace(s.world.HostNamespace)
		}
		list, err := where.List(ctx, metav1.ListOptions{})
		if apierrors.IsMethodNotSupported(err) || apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for _, object := range list.Items {
			if s.belongs(object, tenant) {
				out = append(out, kind.GroupResource().String()+"/"+object.Name)
			}
		}
	}
	volumes, err := s.world.Host.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	for _, volume := range volumes.Items {
		if claim := volume.Spec.ClaimRef; claim != nil && claim.Namespace == s.world.HostNamespace && strings.HasPrefix(claim.Name, tenant+"-") {
			out = append(out, "persistentvolumes/"+volume.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (s *scan) belongs(object metav1.PartialObjectMetadata, tenant string) bool {
	for _, label := range []string{"nestling.dev/tenant", "nestling.dev/control-plane", "app.kubernetes.io/instance"} {
		if object.Labels[label] == tenant {
			return true
		}
	}
	name := object.Name
	if name == tenant || strings.HasPrefix(name, tenant+"-") || strings.HasSuffix(name, ":"+s.world.HostNamespace+":"+tenant) {
		return true
	}
	return slices.ContainsFunc(object.OwnerReferences, func(owner metav1.OwnerReference) bool {
		return owner.Name == tenant || strings.HasPrefix(owner.Name, tenant+"-")
	})
}

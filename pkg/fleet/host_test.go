package fleet

import (
	"context"
	"path/filepath"

	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/simhost"
)

// patience bounds what a host does in its own time.
const patience = 30 * time.Second

// simulated is a fleet on a simulated host, whose pods do not run: what they would write, the test does.
type simulated struct {
	*Fleet
	simhost *simhost.Host
}

// The stories of one simulated host, since a process can have only one. Each has a namespace of its own.
func TestFleet(t *testing.T) {
	host, err := simhost.Start(t.Context(), simhost.Options{
		Dir: filepath.Join(t.TempDir(), "h"), Nodes: 1,
		Namespaces: []string{"whole", "again", "taken", "manifests", "leftover", "gone", "volumes", "readers", "others", "limited"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Stop()) })
	f, err := New(host.Config())
	require.NoError(t, err)
	s := &simulated{Fleet: f, simhost: host}
	for name, story := range map[string]func(*testing.T, *simulated){
		"a tenant is made, owned by its anchor, and removed whole":      whole,
		"a half-made tenant is completed":                               again,
		"objects of others under the tenant's names are not touched":    taken,
		"a tenant that was installed by its manifests is removed whole": manifests,
		"a namespace that is not there, and one that is going":          namespaces,
		"volumes that are kept lose their owners":                       volumes,
		"kubeconfigs in other namespaces come and go with the tenant":   readers,
		"what nobody may do is one line, and leaves nothing half-made":  limited,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, s)
		})
	}
}

func options(name, namespace string) CreateOptions {
	o := deploy.Default()
	o.Tenant, o.Namespace, o.Ephemeral = name, namespace, true
	return CreateOptions{Deploy: o, Timeout: patience}
}

// kubeconfigSecret is what the tenant's process would write.
func (s *simulated) kubeconfigSecret(ctx context.Context, t *testing.T, n deploy.Names) {
	t.Helper()
	var anchor *corev1.ConfigMap
	require.Eventually(t, func() bool {
		var err error
		anchor, err = s.host.CoreV1().ConfigMaps(n.Namespace).Get(ctx, n.Anchor(), metav1.GetOptions{})
		return err == nil
	}, patience, 20*time.Millisecond)
	_, err := s.host.CoreV1().Secrets(n.Namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: n.Kubeconfig(), OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: anchor.Name, UID: anchor.UID}}},
		Data:       map[string][]byte{deploy.KubeconfigKey: []byte(kubeconfig)},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://a.whole.svc:443"}}]
users: [{name: nestling:admin}]
contexts: [{name: a, context: {cluster: a, user: nestling:admin}}]
current-context: a
`

func whole(t *testing.T, s *simulated) {
	ctx, n := t.Context(), names("a", "whole")
	o := options("a", "whole")
	o.TTL = time.Hour
	var said []string
	o.Progress = func(step Step) { said = append(said, step.Text) }
	written := make(chan struct{})
	go func() { defer close(written); s.kubeconfigSecret(ctx, t, n) }()
	created, err := s.Create(ctx, o)
	require.NoError(t, err)
	<-written
	require.Equal(t, "https://a.whole.svc:443", created.Server)
	require.False(t, created.Existed)
	require.Equal(t, "ready", said[len(said)-1], said)
	require.WithinDuration(t, time.Now().Add(time.Hour), created.ExpiresAt, time.Minute)

	objects, err := deploy.Objects(o.Deploy)
	require.NoError(t, err)
	live, err := s.survey(ctx, objects)
	require.NoError(t, err)
	require.Len(t, live.items, len(objects))
	anchor := live.items[index("ConfigMap", n.Namespace, n.Anchor())]
	require.Equal(t, created.ExpiresAt.UTC().Format(time.RFC3339), anchor.Annotations[deploy.ExpiresAtAnnotation])
	for name, one := range live.items {
		switch {
		case one.UID == anchor.UID, one.kind.name == "ClusterRoleBinding":
			require.Empty(t, one.OwnerReferences, name)
		case one.kind.name == "ClusterRole":
			require.Equal(t, live.items[index("ClusterRoleBinding", "", one.Name)].UID, one.OwnerReferences[0].UID)
		default:
			require.Len(t, one.OwnerReferences, 1, name)
			require.Equal(t, anchor.UID, one.OwnerReferences[0].UID, name)
		}
	}
	_, err = s.Delete(ctx, DeleteOptions{Tenant: "a", Namespace: "whole", Timeout: patience})
	require.NoError(t, err)
	live, err = s.survey(ctx, objects)
	require.NoError(t, err)
	require.Empty(t, live.items)
	_, err = s.Delete(ctx, DeleteOptions{Tenant: "a", Namespace: "whole"})
	var absent *NotFoundError
	require.ErrorAs(t, err, &absent)
	require.EqualError(t, err, `tenant "a" not found in namespace "whole"`)
}

func readers(t *testing.T, s *simulated) {
	ctx, n := t.Context(), names("r", "readers")
	o := options("r", "readers")
	o.NoWait = true
	for _, name := range []string{"r", "theirs"} {
		o.Deploy.Config.Kubeconfigs = append(o.Deploy.Config.Kubeconfigs, config.Kubeconfig{Secret: config.ObjectRef{Namespace: "others", Name: name}})
	}
	secrets := s.host.CoreV1().Secrets("others")
	theirs, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "theirs", Labels: map[string]string{deploy.ControlPlaneLabel: "r"},
		Annotations: map[string]string{deploy.KubeconfigOfAnnotation: "elsewhere/r"}, // of a tenant of the same name
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = s.Create(ctx, o)
	var taken *TakenError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, "others", taken.Namespace)
	_, err = secrets.Get(ctx, "r", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "nothing was changed")

	o.Deploy.Config.Kubeconfigs = o.Deploy.Config.Kubeconfigs[:1]
	_, err = s.Create(ctx, o)
	require.NoError(t, err)
	secret, err := secrets.Get(ctx, "r", metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, secret.OwnerReferences, "an owner in another namespace would be the end of it")
	role, err := s.host.RbacV1().Roles("others").Get(ctx, n.Kubeconfigs(), metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "RoleBinding", role.OwnerReferences[0].Kind)

	// Another Secret instead of the first.
	o.Deploy.Config.Kubeconfigs = []config.Kubeconfig{{Secret: config.ObjectRef{Namespace: "others", Name: "second"}}}
	_, err = s.Create(ctx, o)
	require.NoError(t, err)
	_, err = secrets.Get(ctx, "r", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	_, err = secrets.Get(ctx, "second", metav1.GetOptions{})
	require.NoError(t, err)

	_, err = s.Delete(ctx, DeleteOptions{Tenant: "r", Namespace: "readers", Timeout: patience})
	require.NoError(t, err)
	for what, err := range map[string]error{
		"Secret":      second(secrets.Get(ctx, "second", metav1.GetOptions{})),
		"Role":        second(s.host.RbacV1().Roles("others").Get(ctx, n.Kubeconfigs(), metav1.GetOptions{})),
		"RoleBinding": second(s.host.RbacV1().RoleBindings("others").Get(ctx, n.Kubeconfigs(), metav1.GetOptions{})),
	} {
		require.True(t, apierrors.IsNotFound(err), "%s: %v", what, err)
	}
	still, err := secrets.Get(ctx, "theirs", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, theirs.UID, still.UID)
}

func second[T any](_ T, err error) error { return err }

func again(t *testing.T, s *simulated) {
	ctx, n := t.Context(), names("b", "again")
	o := options("b", "again")
	o.NoWait = true
	first, err := s.Create(ctx, o)
	require.NoError(t, err)
	require.False(t, first.Existed)
	before, err := s.host.AppsV1().StatefulSets("again").Get(ctx, "b", metav1.GetOptions{})
	require.NoError(t, err)
	for _, gone := range []func() error{
		func() error { return s.host.CoreV1().Services("again").Delete(ctx, "b-dns", metav1.DeleteOptions{}) },
		func() error {
			return s.host.RbacV1().ClusterRoles().Delete(ctx, n.ClusterRole(), metav1.DeleteOptions{})
		},
	} {
		require.NoError(t, gone())
	}
	second, err := s.Create(ctx, o)
	require.NoError(t, err)
	require.True(t, second.Existed)
	_, err = s.host.CoreV1().Services("again").Get(ctx, "b-dns", metav1.GetOptions{})
	require.NoError(t, err)
	role, err := s.host.RbacV1().ClusterRoles().Get(ctx, n.ClusterRole(), metav1.GetOptions{})
	require.NoError(t, err)
	require.Len(t, role.OwnerReferences, 1)
	after, err := s.host.AppsV1().StatefulSets("again").Get(ctx, "b", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, before.Generation, after.Generation, "nothing changed, so nothing rolls")

	o.Deploy.Ephemeral = false
	_, err = s.Create(ctx, o)
	require.EqualError(t, err, `tenant "b" exists and is ephemeral, which cannot be changed: give --ephemeral, or delete it first`)
	_, err = s.Delete(ctx, DeleteOptions{Tenant: "b", Namespace: "again", Timeout: patience})
	require.NoError(t, err)
}

func taken(t *testing.T, s *simulated) {
	ctx := t.Context()
	require.Eventually(t, func() bool { // a controller makes it some time after the namespace
		_, err := s.host.CoreV1().ConfigMaps("taken").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err == nil
	}, patience, 20*time.Millisecond)
	theirs, err := s.host.CoreV1().Services("taken").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = s.Create(ctx, options("web", "taken"))
	require.EqualError(t, err, `Service "web" in namespace "taken" exists and is not of a tenant "web" (it lacks the label nestling.dev/control-plane=web): choose another name; nothing was changed`)
	maps, err := s.host.CoreV1().ConfigMaps("taken").List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, maps.Items, 1, "only kube-root-ca.crt")
	_, err = s.Delete(ctx, DeleteOptions{Tenant: "web", Namespace: "taken"})
	var absent *NotFoundError
	require.ErrorAs(t, err, &absent)
	still, err := s.host.CoreV1().Services("taken").Get(ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, theirs.UID, still.UID)
}

// manifests applies them as kubectl would, without an owner.
func manifests(t *testing.T, s *simulated) {
	ctx := t.Context()
	o := options("c", "manifests")
	objects, err := deploy.Objects(o.Deploy)
	require.NoError(t, err)
	for _, object := range objects {
		_, err := s.applyOne(ctx, object, nil)
		require.NoError(t, err)
	}
	_, err = s.Delete(ctx, DeleteOptions{Tenant: "c", Namespace: "manifests", Timeout: patience})
	require.NoError(t, err)
	live, err := s.survey(ctx, objects)
	require.NoError(t, err)
	require.Empty(t, live.items)
}

func namespaces(t *testing.T, s *simulated) {
	ctx := t.Context()
	o := options("d", "nowhere")
	_, err := s.Create(ctx, o)
	require.EqualError(t, err, `namespace "nowhere" does not exist: create it, choose another by --namespace, or give --create-namespace`)
	o.CreateNamespace, o.NoWait = true, true
	_, err = s.Create(ctx, o)
	require.NoError(t, err)
	_, err = s.Delete(ctx, DeleteOptions{Tenant: "d", Namespace: "nowhere", Timeout: patience})
	require.NoError(t, err)

	_, err = s.host.CoreV1().ConfigMaps("gone").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/held"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, s.host.CoreV1().Namespaces().Delete(ctx, "gone", metav1.DeleteOptions{}))
	t.Cleanup(func() {
		_, err := s.host.CoreV1().ConfigMaps("gone").Patch(context.Background(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	})
	_, err = s.Create(ctx, options("d", "gone"))
	require.EqualError(t, err, `namespace "gone" is being deleted: wait until it is gone, or choose another`)
}

func volumes(t *testing.T, s *simulated) {
	ctx, n := t.Context(), names("e", "volumes")
	o := options("e", "volumes")
	o.Deploy.Ephemeral, o.NoWait = false, true
	_, err := s.Create(ctx, o)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		claim, err := s.host.CoreV1().PersistentVolumeClaims("volumes").Get(ctx, "data-e-0", metav1.GetOptions{})
		return err == nil && len(claim.OwnerReferences) == 1
	}, patience, 20*time.Millisecond)
	anchor, err := s.host.CoreV1().ConfigMaps("volumes").Get(ctx, n.Anchor(), metav1.GetOptions{})
	require.NoError(t, err)
	_, err = s.host.CoreV1().PersistentVolumeClaims("volumes").Create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "theirs-x", Labels: map[string]string{"nestling.dev/tenant": "e"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: anchor.Name, UID: anchor.UID}}},
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: o.Deploy.StorageSize}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	deleted, err := s.Delete(ctx, DeleteOptions{Tenant: "e", Namespace: "volumes", KeepVolumes: true, Timeout: patience})
	require.NoError(t, err)
	require.Equal(t, []string{"data-e-0", "theirs-x"}, deleted.KeptVolumes)
	left, err := s.host.CoreV1().PersistentVolumeClaims("volumes").List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, left.Items, 2)
	_, err = s.Delete(ctx, DeleteOptions{Tenant: "e", Namespace: "volumes"})
	require.ErrorContains(t, err, `there are volumes that were kept of it, data-e-0, theirs-x`)

	// Taken back, they have owners again, and go with the tenant.
	_, err = s.Create(ctx, o)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		claim, err := s.host.CoreV1().PersistentVolumeClaims("volumes").Get(ctx, "data-e-0", metav1.GetOptions{})
		return err == nil && len(claim.OwnerReferences) == 1
	}, patience, 20*time.Millisecond)
	deleted, err = s.Delete(ctx, DeleteOptions{Tenant: "e", Namespace: "volumes", Timeout: patience})
	require.NoError(t, err)
	require.Equal(t, []string{"theirs-x"}, deleted.KeptVolumes, "nobody made it the tenant's again")
}

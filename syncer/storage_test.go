package syncer_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer"
	syncresource "nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

func claimOf(name, class, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: sizeOf(size)},
		},
	}
}

func sizeOf(size string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
}

// storage plays the host's volume controllers for a tenant.
type storage struct {
	tenant
	class string
}

// newStorage makes a class on the host, which shows in the tenant before claims name it.
func newStorage(t *testing.T, name string, change func(*syncer.Options)) storage {
	t.Helper()
	x := storage{tenant: newTenantWith(t, name, virtualServer, func(*syncer.Syncer) {}, change), class: name + "-class"}
	_, err := x.host.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: x.class}, Provisioner: "csi.example.org", AllowVolumeExpansion: new(true),
		Parameters: map[string]string{"pool": "fast", "csi.storage.k8s.io/provisioner-secret-name": "admin"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return x
}

func (x storage) waitClass() {
	x.Helper()
	x.eventually("the class shows", func() (string, error) {
		class, err := x.virtual.StorageV1().StorageClasses().Get(x.Context(), x.class, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff(map[string]string{"pool": "fast"}, class.Parameters), nil
	})
}

// hostClaim is the host's claim of a virtual one, once it is there.
func (x storage) hostClaim(name string, is func(*corev1.PersistentVolumeClaim) string) *corev1.PersistentVolumeClaim {
	x.Helper()
	var out *corev1.PersistentVolumeClaim
	x.eventually("host claim of "+name, func() (complaint string, err error) {
		if out, err = x.host.CoreV1().PersistentVolumeClaims(x.name).Get(x.Context(), x.hostName(name), metav1.GetOptions{}); err != nil {
			return "", err
		}
		return is(out), nil
	})
	return out
}

func (x storage) virtualClaim(name string, is func(*corev1.PersistentVolumeClaim) string) *corev1.PersistentVolumeClaim {
	x.Helper()
	var out *corev1.PersistentVolumeClaim
	x.eventually("virtual claim "+name, func() (complaint string, err error) {
		if out, err = x.virtual.CoreV1().PersistentVolumeClaims(x.name).Get(x.Context(), name, metav1.GetOptions{}); err != nil {
			return "", err
		}
		return is(out), nil
	})
	return out
}

func (x storage) virtualVolume(name string, is func(*corev1.PersistentVolume) string) {
	x.Helper()
	x.eventually("virtual volume "+name, func() (string, error) {
		volume, err := x.virtual.CoreV1().PersistentVolumes().Get(x.Context(), name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return is(volume), nil
	})
}

// bind makes a volume for a host claim and binds the two, as provisioner and binder do.
func (x storage) bind(claim *corev1.PersistentVolumeClaim, volume string) {
	x.Helper()
	_, err := x.host.CoreV1().PersistentVolumes().Create(x.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volume, Annotations: map[string]string{"volume.kubernetes.io/provisioner-deletion-secret-name": "admin"}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: claim.Spec.Resources.Requests, AccessModes: claim.Spec.AccessModes, StorageClassName: x.class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: "csi.example.org", VolumeHandle: volume, NodeStageSecretRef: &corev1.SecretReference{Namespace: "storage", Name: "admin"},
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(x, err)
	x.hostVolumePhase(volume, corev1.VolumeBound)
	x.patchClaim(claim.Name, "", map[string]any{"spec": map[string]any{"volumeName": volume}})
	x.patchClaim(claim.Name, "status", map[string]any{"status": corev1.PersistentVolumeClaimStatus{
		Phase: corev1.ClaimBound, AccessModes: claim.Spec.AccessModes, Capacity: claim.Spec.Resources.Requests,
	}})
}

func (x storage) hostVolumePhase(volume string, phase corev1.PersistentVolumePhase) {
	x.Helper()
	_, err := x.host.CoreV1().PersistentVolumes().Patch(x.Context(), volume, types.MergePatchType,
		fmt.Appendf(nil, `{"status":{"phase":%q}}`, phase), metav1.PatchOptions{}, "status")
	require.NoError(x, err)
}

// patchClaim changes a host claim, as somebody of the host does.
func (x storage) patchClaim(name, subresource string, content any) {
	x.Helper()
	patch, err := json.Marshal(content)
	require.NoError(x, err)
	var subresources []string
	if subresource != "" {
		subresources = append(subresources, subresource)
	}
	_, err = x.host.CoreV1().PersistentVolumeClaims(x.name).Patch(x.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}, subresources...)
	require.NoError(x, err)
}

func phase(want corev1.PersistentVolumeClaimPhase) func(*corev1.PersistentVolumeClaim) string {
	return func(claim *corev1.PersistentVolumeClaim) string { return cmp.Diff(want, claim.Status.Phase) }
}

func anyClaim(*corev1.PersistentVolumeClaim) string { return "" }

func requests(size string) func(*corev1.PersistentVolumeClaim) string {
	return func(claim *corev1.PersistentVolumeClaim) string {
		got := claim.Spec.Resources.Requests[corev1.ResourceStorage]
		return cmp.Diff(size, got.String())
	}
}

func TestClaimsAreBoundByTheHost(t *testing.T) {
	x := newStorage(t, "volumeclaims", func(*syncer.Options) {})
	x.waitClass()
	claims := x.virtual.CoreV1().PersistentVolumeClaims(x.name)
	_, err := claims.Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	host := x.hostClaim("data", anyClaim)
	x.virtualClaim("data", phase(corev1.ClaimPending))
	x.bind(host, "volumeclaims-volume")
	virtual := x.virtualClaim("data", phase(corev1.ClaimBound))
	require.Equal(t, "volumeclaims-volume", virtual.Spec.VolumeName)
	x.virtualVolume("volumeclaims-volume", func(volume *corev1.PersistentVolume) string {
		want := &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: x.name, Name: "data", UID: virtual.UID}
		return cmp.Diff([]any{want, corev1.VolumeBound, (*corev1.SecretReference)(nil)},
			[]any{volume.Spec.ClaimRef, volume.Status.Phase, volume.Spec.CSI.NodeStageSecretRef}) + cmp.Diff(0, len(volume.Annotations)-1)
	})

	// Expansion, while somebody on the host asks for more.
	_, err = claims.Patch(t.Context(), "data", types.MergePatchType, []byte(`{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.hostClaim("data", requests("2Gi"))
	x.patchClaim(host.Name, "", map[string]any{"spec": map[string]any{"resources": map[string]any{"requests": map[string]any{"storage": "3Gi"}}}})
	x.eventually("it can't be taken back on the host, which shrinks nothing", func() (string, error) {
		found, err := x.host.CoreV1().PersistentVolumeClaims(x.name).Get(t.Context(), host.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return requests("2Gi")(found), nil
	})
	x.patchClaim(host.Name, "status", map[string]any{"status": map[string]any{
		"capacity": sizeOf("2Gi"), "allocatedResources": sizeOf("2Gi"),
		"conditions": []corev1.PersistentVolumeClaimCondition{{
			Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue, Message: "of " + x.name + "/" + host.Name,
		}},
	}})
	x.virtualClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		if len(claim.Status.Conditions) != 1 {
			return "no condition"
		}
		size := claim.Status.Capacity[corev1.ResourceStorage]
		return cmp.Diff([]any{"2Gi", "of " + x.name + "/data"}, []any{size.String(), claim.Status.Conditions[0].Message})
	})

	// Somebody takes our marks and labels off, and adds a note of their own.
	x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{syncresource.LabelTenant: nil},
		"annotations": map[string]any{"admin.example.org/note": "kept", "volume.kubernetes.io/selected-node": "node-7"},
	}})
	x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		return cmp.Diff([]string{x.name, "kept"}, []string{claim.Labels[syncresource.LabelTenant], claim.Annotations["admin.example.org/note"]})
	})
	x.virtualClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		return cmp.Diff("node-7", claim.Annotations["volume.kubernetes.io/selected-node"]) + cmp.Diff("", claim.Annotations["admin.example.org/note"])
	})
}

func TestAClaimInUseGoesWhenItsPodHasGone(t *testing.T) {
	x := newStorage(t, "inuse", func(*syncer.Options) {})
	x.waitClass()
	claims := x.virtual.CoreV1().PersistentVolumeClaims(x.name)
	_, err := claims.Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	host := x.hostClaim("data", anyClaim)
	x.bind(host, "inuse-volume")
	x.virtualClaim("data", phase(corev1.ClaimBound))
	x.virtualVolume("inuse-volume", func(*corev1.PersistentVolume) string { return "" })

	// Admission has protected it; the controller that lets it go is played here.
	require.NoError(t, claims.Delete(t.Context(), "data", metav1.DeleteOptions{}))
	x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{"labels": map[string]any{"touched": "yes"}}})
	virtual := x.virtualClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		return cmp.Diff([]string{"kubernetes.io/pvc-protection"}, claim.Finalizers)
	})
	require.NotNil(t, virtual.DeletionTimestamp)
	require.Nil(t, x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		return cmp.Diff("yes", claim.Labels["touched"])
	}).DeletionTimestamp, "what is in use in the tenant stays on the host")
	_, err = claims.Patch(t.Context(), "data", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		if claim.DeletionTimestamp == nil {
			return "not being deleted"
		}
		return ""
	})
	x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{"finalizers": nil}})
	x.hostVolumePhase("inuse-volume", corev1.VolumeReleased)
	x.virtualVolume("inuse-volume", func(volume *corev1.PersistentVolume) string {
		return cmp.Diff([]any{corev1.VolumeReleased, "data"}, []any{volume.Status.Phase, volume.Spec.ClaimRef.Name})
	})

	// The mirror is protected here as if it were bound, and goes with the host's all the same.
	x.hostVolumePhase("inuse-volume", corev1.VolumeBound)
	x.virtualVolume("inuse-volume", func(volume *corev1.PersistentVolume) string {
		return cmp.Diff([]any{corev1.VolumeBound, []string{"kubernetes.io/pv-protection"}}, []any{volume.Status.Phase, volume.Finalizers})
	})
	hostVolumes := x.host.CoreV1().PersistentVolumes()
	_, err = hostVolumes.Patch(t.Context(), "inuse-volume", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, hostVolumes.Delete(t.Context(), "inuse-volume", metav1.DeleteOptions{}))
	x.eventually("the mirror goes", func() (string, error) {
		_, err := x.virtual.CoreV1().PersistentVolumes().Get(t.Context(), "inuse-volume", metav1.GetOptions{})
		return gone(err)
	})
}

func TestALostHostClaimWaitsForItsVolume(t *testing.T) {
	x := newStorage(t, "lostclaim", func(*syncer.Options) {})
	x.waitClass()
	_, err := x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	host := x.hostClaim("data", anyClaim)
	x.bind(host, "lost-volume")
	x.virtualClaim("data", phase(corev1.ClaimBound))
	x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{"finalizers": nil}})
	require.NoError(t, x.host.CoreV1().PersistentVolumeClaims(x.name).Delete(t.Context(), host.Name, metav1.DeleteOptions{}))
	again := x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		if claim.UID == host.UID {
			return "not made anew"
		}
		return ""
	})
	require.Equal(t, "lost-volume", again.Spec.VolumeName, "never an empty volume in the place of data")
	x.virtualClaim("data", phase(corev1.ClaimPending))
}

// The syncer writes down here which volume the host has bound, and the host claim is lost
// before that comes back to it.
func TestAHostClaimThatIsLostAtOnceWaitsForItsVolume(t *testing.T) {
	slow := &slowWatch{resource: "persistentvolumeclaims", name: "data"}
	x := newStorage(t, "lostatonce", slow.use)
	x.waitClass()
	_, err := x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	host := x.hostClaim("data", anyClaim)
	release := slow.hold()
	defer release()
	x.bind(host, "lost-at-once")
	x.virtualClaim("data", phase(corev1.ClaimBound))
	x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{"finalizers": nil}})
	require.NoError(t, x.host.CoreV1().PersistentVolumeClaims(x.name).Delete(t.Context(), host.Name, metav1.DeleteOptions{}))
	slow.awaitAsked(x.tenant)
	release()
	again := x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		if claim.UID == host.UID {
			return "not made anew"
		}
		return ""
	})
	require.Equal(t, "lost-at-once", again.Spec.VolumeName)
}

// Two tenants in two host namespaces, and one in the namespace of the first.
func TestVolumesOfOthersAreNeverSeen(t *testing.T) {
	x := newStorage(t, "volumes", func(*syncer.Options) {})
	x.waitClass()
	foreign := func(name string, claim *corev1.ObjectReference) {
		_, err := x.host.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PersistentVolumeSpec{
				Capacity: sizeOf("1Gi"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, ClaimRef: claim,
				PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/secret"}},
			},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	neighbour, err := x.host.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("neighbours", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	foreign("volumes-free", nil)
	foreign("volumes-neighbours", &corev1.ObjectReference{Namespace: x.name, Name: neighbour.Name, UID: neighbour.UID})
	foreign("volumes-elsewhere", &corev1.ObjectReference{Namespace: "default", Name: x.hostName("data"), UID: "x"})
	foreign("volumes-predecessor", &corev1.ObjectReference{Namespace: x.name, Name: x.hostName("data"), UID: "x"})

	_, err = x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	x.bind(x.hostClaim("data", anyClaim), "volumes-own")
	x.virtualVolume("volumes-own", func(*corev1.PersistentVolume) string { return "" })
	seen, err := x.virtual.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, volume := range seen.Items {
		if volume.Name != "volumes-own" {
			require.NotContains(t, volume.Name, "volumes-", "seen by whom it does not belong to")
		}
	}
}

// Where the host's volumes can't be read, the claim tells.
func TestVolumesAreMadeOfClaims(t *testing.T) {
	x := newStorage(t, "madevolumes", func(options *syncer.Options) {
		options.Kinds = resources.Options{Unreadable: map[string]bool{"persistentvolumes": true, "storageclasses.storage.k8s.io": true}}
	})
	_, err := x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	host := x.hostClaim("data", anyClaim)
	x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{"annotations": map[string]any{"volume.kubernetes.io/storage-provisioner": "csi.example.org"}}})
	x.bind(host, "made-volume")
	x.virtualVolume("made-volume", func(volume *corev1.PersistentVolume) string {
		size := volume.Spec.Capacity[corev1.ResourceStorage]
		return cmp.Diff([]any{"data", "1Gi", x.class, corev1.VolumeBound, "csi.example.org"},
			[]any{volume.Spec.ClaimRef.Name, size.String(), volume.Spec.StorageClassName, volume.Status.Phase, volume.Spec.CSI.Driver})
	})
	require.NoError(t, x.virtual.CoreV1().PersistentVolumeClaims(x.name).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	_, err = x.virtual.CoreV1().PersistentVolumeClaims(x.name).Patch(t.Context(), "data", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		if claim.DeletionTimestamp == nil {
			return "not being deleted"
		}
		return ""
	})
	x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{"finalizers": nil}})
	x.eventually("the volume goes with the claim", func() (string, error) {
		_, err := x.virtual.CoreV1().PersistentVolumes().Get(t.Context(), "made-volume", metav1.GetOptions{})
		return gone(err)
	})
}

func TestClaimsMayOutliveTheTenant(t *testing.T) {
	anchor := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "anchor", UID: "anchor"}
	for name, keep := range map[string]bool{"kept": true, "left": false} {
		t.Run(name, func(t *testing.T) {
			x := newStorage(t, "claims-"+name, func(options *syncer.Options) {
				options.Env.Owner = anchor
				options.Kinds.KeepVolumeClaims = keep
			})
			x.waitClass()
			_, err := x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
			require.NoError(t, err)
			owners := []metav1.OwnerReference{anchor}
			if keep {
				owners = nil
			}
			host := x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string { return cmp.Diff(owners, claim.OwnerReferences) })
			// As it would be after the other policy, or by somebody's hand.
			other := []metav1.OwnerReference{anchor}[:1-len(owners)]
			x.patchClaim(host.Name, "", map[string]any{"metadata": map[string]any{"ownerReferences": other}})
			x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string { return cmp.Diff(owners, claim.OwnerReferences) })
		})
	}
}

// Whoever runs the host hands a claim that was kept to the tenant's successor, by the
// successor's identity and without the UID of the virtual claim of old.
func TestAKeptClaimIsHandedOver(t *testing.T) {
	x := newStorage(t, "successor", func(options *syncer.Options) { options.Kinds.KeepVolumeClaims = true })
	x.waitClass()
	kept := claimOf(x.hostName("data"), x.class, "1Gi")
	kept.Labels = map[string]string{syncresource.LabelTenant: x.name}
	kept.Annotations = map[string]string{
		syncresource.AnnotationIdentity: "identity-of-old", syncresource.AnnotationUID: "uid-of-old", syncresource.AnnotationKind: "PersistentVolumeClaim",
		syncresource.AnnotationNamespace: x.name, syncresource.AnnotationName: "data",
	}
	kept, err := x.host.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), kept, metav1.CreateOptions{})
	require.NoError(t, err)
	x.bind(kept, "kept-volume")
	_, err = x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	x.eventually("its user is told", func() (string, error) {
		events, err := x.virtual.CoreV1().Events(x.name).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=data,reason=HostNameTaken"})
		if err != nil || len(events.Items) == 0 {
			return "no event", err
		}
		return "", nil
	})
	x.virtualClaim("data", phase(corev1.ClaimPending))

	x.patchClaim(kept.Name, "", map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		syncresource.AnnotationIdentity: "identity-" + x.name, syncresource.AnnotationUID: nil,
	}}})
	virtual := x.virtualClaim("data", phase(corev1.ClaimBound))
	require.Equal(t, "kept-volume", virtual.Spec.VolumeName)
	host := x.hostClaim("data", func(claim *corev1.PersistentVolumeClaim) string {
		return cmp.Diff(string(virtual.UID), claim.Annotations[syncresource.AnnotationUID])
	})
	require.Equal(t, kept.UID, host.UID, "the same claim, with its data")
}

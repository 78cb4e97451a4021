package syncer_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer"
)

func TestClassesMirrorTheHosts(t *testing.T) {
	x := newTenant(t, "classes")
	ctx := t.Context()
	labelled := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{"tier": "gold"}, Annotations: map[string]string{"note": "of the host's"}}
	}
	_, err := x.host.SchedulingV1().PriorityClasses().Create(ctx, &schedulingv1.PriorityClass{
		ObjectMeta: labelled("paying"), Value: 1000, GlobalDefault: true, Description: "who pays", PreemptionPolicy: new(corev1.PreemptNever),
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = x.host.NodeV1().RuntimeClasses().Create(ctx, &nodev1.RuntimeClass{
		ObjectMeta: labelled("sandboxed"), Handler: "runsc",
		Overhead:   &nodev1.Overhead{PodFixed: corev1.ResourceList{"memory": resource.MustParse("64Mi")}},
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"sandbox": "yes"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = x.host.ResourceV1().DeviceClasses().Create(ctx, &resourcev1.DeviceClass{
		ObjectMeta: labelled("gpu.example.com"),
		Spec: resourcev1.DeviceClassSpec{
			Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: `device.driver == "gpu.example.com"`}}},
			// Keys that are not in order: opaque means opaque.
			Config: []resourcev1.DeviceClassConfiguration{{DeviceConfiguration: resourcev1.DeviceConfiguration{Opaque: &resourcev1.OpaqueDeviceConfiguration{
				Driver: "gpu.example.com", Parameters: runtime.RawExtension{Raw: []byte(`{"mode": "shared", "a": 1}`)},
			}}}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	slice := &resourcev1.ResourceSlice{
		ObjectMeta: labelled("node-1-gpu"),
		Spec: resourcev1.ResourceSliceSpec{
			Driver: "gpu.example.com", NodeName: new("node-1"), Pool: resourcev1.ResourcePool{Name: "node-1", Generation: 1, ResourceSliceCount: 1},
			Devices: []resourcev1.Device{{Name: "gpu-0"}},
		},
	}
	slice, err = x.host.ResourceV1().ResourceSlices().Create(ctx, slice, metav1.CreateOptions{})
	require.NoError(t, err)

	priority := func(want schedulingv1.PriorityClass) func() (string, error) {
		return func() (string, error) {
			got, err := x.virtual.SchedulingV1().PriorityClasses().Get(ctx, "paying", metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cmp.Diff([]any{want.Value, want.GlobalDefault, want.PreemptionPolicy, map[string]string{"tier": "gold"}, ""},
				[]any{got.Value, got.GlobalDefault, got.PreemptionPolicy, got.Labels, got.Annotations["note"]}), nil
		}
	}
	x.eventually("the priority class", priority(schedulingv1.PriorityClass{Value: 1000, GlobalDefault: true, PreemptionPolicy: new(corev1.PreemptNever)}))
	x.eventually("the others", func() (string, error) {
		runtimeClass, err := x.virtual.NodeV1().RuntimeClasses().Get(ctx, "sandboxed", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if _, err = x.virtual.ResourceV1().DeviceClasses().Get(ctx, "gpu.example.com", metav1.GetOptions{}); err != nil {
			return "", err
		}
		got, err := x.virtual.ResourceV1().ResourceSlices().Get(ctx, "node-1-gpu", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff([]any{"runsc", slice.Spec}, []any{runtimeClass.Handler, got.Spec}), nil
	})

	// The default is the host's, and a pod of the tenant's has it on both sides.
	create := func(dryRun ...string) (*corev1.Pod, error) {
		return x.virtual.CoreV1().Pods(x.name).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "plain"},
			Spec:       corev1.PodSpec{RuntimeClassName: new("sandboxed"), Containers: []corev1.Container{{Name: "app", Image: "example.org/app"}}},
		}, metav1.CreateOptions{DryRun: dryRun})
	}
	x.eventually("the API server's own cache has the default", func() (string, error) {
		pod, err := create(metav1.DryRunAll)
		if err != nil {
			return "", err
		}
		return cmp.Diff("paying", pod.Spec.PriorityClassName), nil
	})
	pod, err := create()
	require.NoError(t, err)
	require.Equal(t, "paying", pod.Spec.PriorityClassName)
	require.Equal(t, "64Mi", pod.Spec.Overhead.Memory().String())
	x.eventually("the pod has its classes on the host", func() (string, error) {
		host, err := x.host.CoreV1().Pods(x.name).Get(ctx, x.hostName("plain"), metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff([]any{pod.Spec.PriorityClassName, pod.Spec.Priority, pod.Spec.PreemptionPolicy, pod.Spec.Overhead, pod.Spec.NodeSelector},
			[]any{host.Spec.PriorityClassName, host.Spec.Priority, host.Spec.PreemptionPolicy, host.Spec.Overhead, host.Spec.NodeSelector}), nil
	})

	// The API has one default. The tenant's own, made while the host had none, stays; when it
	// goes, the host's is the default again.
	setDefault := func(to bool) {
		t.Helper()
		class, err := x.host.SchedulingV1().PriorityClasses().Get(ctx, "paying", metav1.GetOptions{})
		require.NoError(t, err)
		class.GlobalDefault = to
		_, err = x.host.SchedulingV1().PriorityClasses().Update(ctx, class, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	paying := schedulingv1.PriorityClass{Value: 1000, PreemptionPolicy: new(corev1.PreemptNever)}
	setDefault(false)
	x.eventually("no default", priority(paying))
	own := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Value: 5, GlobalDefault: true}
	x.eventually("a default of the tenant's own", func() (string, error) {
		_, err := x.virtual.SchedulingV1().PriorityClasses().Create(ctx, own, metav1.CreateOptions{})
		return "", err // the API server's own cache may be behind
	})
	setDefault(true)
	require.NoError(t, x.virtual.SchedulingV1().PriorityClasses().Delete(ctx, "own", metav1.DeleteOptions{}))
	paying.GlobalDefault = true
	x.eventually("the host's default", priority(paying))

	// A mirror that the tenant deletes comes back.
	require.NoError(t, x.virtual.NodeV1().RuntimeClasses().Delete(ctx, "sandboxed", metav1.DeleteOptions{}))
	x.eventually("the runtime class again", func() (string, error) {
		_, err := x.virtual.NodeV1().RuntimeClasses().Get(ctx, "sandboxed", metav1.GetOptions{})
		return "", err
	})

	// What can't change is made anew; what the host has no more goes.
	require.NoError(t, x.host.SchedulingV1().PriorityClasses().Delete(ctx, "paying", metav1.DeleteOptions{}))
	_, err = x.host.SchedulingV1().PriorityClasses().Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: labelled("paying"), Value: 7}, metav1.CreateOptions{})
	require.NoError(t, err)
	x.eventually("a new value", priority(schedulingv1.PriorityClass{Value: 7, PreemptionPolicy: new(corev1.PreemptLowerPriority)}))
	slice.Spec.Pool.Generation = 2
	_, err = x.host.ResourceV1().ResourceSlices().Update(ctx, slice, metav1.UpdateOptions{})
	require.NoError(t, err)
	x.eventually("a new generation of the pool", func() (string, error) {
		got, err := x.virtual.ResourceV1().ResourceSlices().Get(ctx, "node-1-gpu", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff(slice.Spec, got.Spec), nil
	})
	require.NoError(t, x.host.NodeV1().RuntimeClasses().Delete(ctx, "sandboxed", metav1.DeleteOptions{}))
	require.NoError(t, x.host.SchedulingV1().PriorityClasses().Delete(ctx, "paying", metav1.DeleteOptions{}))
	x.eventually("the end of a class", func() (string, error) {
		_, err := x.virtual.NodeV1().RuntimeClasses().Get(ctx, "sandboxed", metav1.GetOptions{})
		return gone(err)
	})
	x.eventually("the end of another", func() (string, error) {
		_, err := x.virtual.SchedulingV1().PriorityClasses().Get(ctx, "paying", metav1.GetOptions{})
		return gone(err)
	})
	_, err = x.virtual.SchedulingV1().PriorityClasses().Get(ctx, "system-node-critical", metav1.GetOptions{})
	require.False(t, apierrors.IsNotFound(err), "the API server's own are not touched")
}

func TestAClaimIsAllocatedByTheHost(t *testing.T) {
	x := newTenant(t, "claims")
	ctx := t.Context()
	spec := resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{
		Requests: []resourcev1.DeviceRequest{{Name: "gpu", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu.example.com"}}},
		Config: []resourcev1.DeviceClaimConfiguration{{DeviceConfiguration: resourcev1.DeviceConfiguration{Opaque: &resourcev1.OpaqueDeviceConfiguration{
			Driver: "gpu.example.com", Parameters: runtime.RawExtension{Raw: []byte(`{"mode":"fast"}`)},
		}}}},
	}}
	claim, err := x.virtual.ResourceV1().ResourceClaims(x.name).Create(ctx, &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "gpu"}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod, err := x.virtual.CoreV1().Pods(x.name).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0"},
		Spec: corev1.PodSpec{
			Containers:     []corev1.Container{{Name: "app", Image: "example.org/app", Resources: corev1.ResourceRequirements{Claims: []corev1.ResourceClaim{{Name: "gpu"}}}}},
			ResourceClaims: []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu")}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	var host *corev1.Pod
	x.eventually("the pod is on the host", func() (string, error) {
		host, err = x.host.CoreV1().Pods(x.name).Get(ctx, x.hostName("web-0"), metav1.GetOptions{})
		return "", err
	})
	require.Equal(t, x.hostName("gpu"), *host.Spec.ResourceClaims[0].ResourceClaimName)
	hostClaims := x.host.ResourceV1().ResourceClaims(x.name)
	hostClaim, err := hostClaims.Get(ctx, x.hostName("gpu"), metav1.GetOptions{})
	require.NoError(t, err, "its claim is there before it")
	require.Empty(t, cmp.Diff(claim.Spec, hostClaim.Spec))

	// The test plays the host's scheduler.
	hostClaim.Status = resourcev1.ResourceClaimStatus{
		Allocation: &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{
			Results: []resourcev1.DeviceRequestAllocationResult{{Request: "gpu", Driver: "gpu.example.com", Pool: "node-1", Device: "gpu-0"}},
			Config: []resourcev1.DeviceAllocationConfiguration{{
				Source: resourcev1.AllocationConfigSourceClass, DeviceConfiguration: resourcev1.DeviceConfiguration{Opaque: &resourcev1.OpaqueDeviceConfiguration{
					Driver: "gpu.example.com", Parameters: runtime.RawExtension{Raw: []byte(`{"z": 1, "a": 2}`)},
				}},
			}},
		}},
		ReservedFor: []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: host.Name, UID: host.UID}},
	}
	hostClaim, err = hostClaims.UpdateStatus(ctx, hostClaim, metav1.UpdateOptions{})
	require.NoError(t, err)
	x.eventually("the tenant sees the device, and its own pod", func() (string, error) {
		got, err := x.virtual.ResourceV1().ResourceClaims(x.name).Get(ctx, "gpu", metav1.GetOptions{})
		if err != nil || got.Status.Allocation == nil {
			return "not allocated", err
		}
		return cmp.Diff([]any{hostClaim.Status.Allocation.Devices.Results, []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: "web-0", UID: pod.UID}}},
			[]any{got.Status.Allocation.Devices.Results, got.Status.ReservedFor}), nil
	})
	hostClaim.Status = resourcev1.ResourceClaimStatus{}
	_, err = hostClaims.UpdateStatus(ctx, hostClaim, metav1.UpdateOptions{})
	require.NoError(t, err)
	x.eventually("the host frees the device", func() (string, error) {
		got, err := x.virtual.ResourceV1().ResourceClaims(x.name).Get(ctx, "gpu", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff((*resourcev1.AllocationResult)(nil), got.Status.Allocation), nil
	})
	require.NoError(t, x.virtual.ResourceV1().ResourceClaims(x.name).Delete(ctx, "gpu", metav1.DeleteOptions{}))
	x.eventually("the host's claim goes", func() (string, error) {
		_, err := hostClaims.Get(ctx, x.hostName("gpu"), metav1.GetOptions{})
		return gone(err)
	})
}

func TestPodsRunAsTheirServiceAccountWhereTheOperatorLetsThem(t *testing.T) {
	x := newTenantWith(t, "identities", virtualServer, func(*syncer.Syncer) {}, func(options *syncer.Options) {
		options.Kinds.ServiceAccounts, options.Env.Policy.ServiceAccounts = true, true
	})
	ctx := t.Context()
	_, err := x.virtual.CoreV1().ServiceAccounts(x.name).Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "uploader", Annotations: map[string]string{"example.com/role": "up"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = x.virtual.CoreV1().Pods(x.name).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0"},
		Spec:       corev1.PodSpec{ServiceAccountName: "uploader", Containers: []corev1.Container{{Name: "app", Image: "example.org/app"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	x.eventually("the pod runs as it", func() (string, error) {
		host, err := x.host.CoreV1().Pods(x.name).Get(ctx, x.hostName("web-0"), metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff(x.hostName("uploader"), host.Spec.ServiceAccountName), nil
	})
	accounts := x.host.CoreV1().ServiceAccounts(x.name)
	account, err := accounts.Get(ctx, x.hostName("uploader"), metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "up", account.Annotations["example.com/role"])
	require.False(t, *account.AutomountServiceAccountToken)
	_, err = accounts.Get(ctx, x.hostName("default"), metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "nobody runs as that one")
	require.NoError(t, x.virtual.CoreV1().Pods(x.name).Delete(ctx, "web-0", metav1.DeleteOptions{}))
	x.eventually("the account goes with its last pod", func() (string, error) {
		_, err := accounts.Get(ctx, x.hostName("uploader"), metav1.GetOptions{})
		return gone(err)
	})
}

func TestWithoutNodesThoseThatRunPodsAreThere(t *testing.T) {
	x := newTenantWith(t, "nonodes", virtualServer, func(*syncer.Syncer) {}, func(options *syncer.Options) {
		options.Kinds.Unreadable = map[string]bool{"nodes": true}
	})
	ctx := t.Context()
	_, err := x.virtual.CoreV1().Pods(x.name).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.org/app"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	x.eventually("the pod is on the host, and is bound there", func() (string, error) {
		host, err := x.host.CoreV1().Pods(x.name).Get(ctx, x.hostName("web-0"), metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return "", x.host.CoreV1().Pods(x.name).Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: x.name, Name: host.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: "unseen-1"},
		}, metav1.CreateOptions{})
	})
	node := func() (*corev1.Node, error) {
		return x.virtual.CoreV1().Nodes().Get(ctx, "unseen-1", metav1.GetOptions{})
	}
	x.eventually("its node is there", func() (string, error) {
		got, err := node()
		if err != nil || len(got.Status.Conditions) == 0 {
			return "no conditions", err
		}
		return cmp.Diff([]any{"unseen-1", corev1.ConditionTrue, "110", []corev1.Taint(nil)},
			[]any{got.Labels[corev1.LabelHostname], got.Status.Conditions[0].Status, got.Status.Allocatable.Pods().String(), got.Spec.Taints}), nil
	})
	_, err = x.host.CoreV1().Pods(x.name).Patch(ctx, x.hostName("web-0"), types.MergePatchType,
		[]byte(`{"status":{"hostIP":"192.0.2.9","hostIPs":[{"ip":"192.0.2.9"}]}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	x.eventually("its address is known when a pod tells it", func() (string, error) {
		got, err := node()
		if err != nil {
			return "", err
		}
		return cmp.Diff(corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "192.0.2.9"}, got.Status.Addresses[0]), nil
	})
	require.NoError(t, x.host.CoreV1().Pods(x.name).Delete(ctx, x.hostName("web-0"), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	x.eventually("the node goes with its last pod", func() (string, error) {
		_, err := node()
		return gone(err)
	})
}

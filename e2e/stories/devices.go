package stories

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// devices are those of the host's nodes, in a tenant's pods.
func devices() []Story {
	return []Story{
		{Name: "pods claim devices, by templates and together, and wait for them", Run: deviceClaims},
	}
}

// offerDevices has a class of a driver's devices on the host, of which there are two on its
// first node. Simulated kubelets start pods without a driver, so there need be none.
func offerDevices(t *testing.T, w *World) (driver, slice string) {
	t.Helper()
	if driver = w.DeviceDriver; driver == "" {
		driver = "story.example.com"
	}
	_, err := w.Host.ResourceV1().DeviceClasses().Create(t.Context(), &resourcev1.DeviceClass{
		ObjectMeta: metav1.ObjectMeta{Name: driver},
		Spec: resourcev1.DeviceClassSpec{Selectors: []resourcev1.DeviceSelector{
			{CEL: &resourcev1.CELDeviceSelector{Expression: fmt.Sprintf("device.driver == %q", driver)}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.Host.ResourceV1().DeviceClasses().Delete(context.Background(), driver, metav1.DeleteOptions{})
	})
	if w.DeviceDriver != "" {
		slices, err := w.Host.ResourceV1().ResourceSlices().List(t.Context(), metav1.ListOptions{FieldSelector: "spec.driver=" + driver})
		require.NoError(t, err)
		require.Len(t, slices.Items, 1)
		return driver, slices.Items[0].Name
	}
	node := nodeNames(t, w)[0]
	slice = node + "-" + driver
	_, err = w.Host.ResourceV1().ResourceSlices().Create(t.Context(), &resourcev1.ResourceSlice{
		ObjectMeta: metav1.ObjectMeta{Name: slice},
		Spec: resourcev1.ResourceSliceSpec{
			Driver: driver, NodeName: &node, Pool: resourcev1.ResourcePool{Name: node, Generation: 1, ResourceSliceCount: 1},
			Devices: []resourcev1.Device{{Name: "device-0"}, {Name: "device-1"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.Host.ResourceV1().ResourceSlices().Delete(context.Background(), slice, metav1.DeleteOptions{})
	})
	return driver, slice
}

func deviceClaims(t *testing.T, w *World) {
	if w.Real && w.DeviceDriver == "" {
		t.Skip("a kubelet asks a driver to prepare devices, and there is none")
	}
	client, space := w.A.Client.ResourceV1(), namespace(t, w.A, "devices")
	driver, sliceName := offerDevices(t, w)
	eventually(t, "the devices in the tenant", func(ctx context.Context) (bool, string) {
		_, classErr := client.DeviceClasses().Get(ctx, driver, metav1.GetOptions{})
		slice, err := client.ResourceSlices().Get(ctx, sliceName, metav1.GetOptions{})
		return classErr == nil && err == nil && len(slice.Spec.Devices) == 2, errText(classErr) + errText(err)
	})
	_, err := client.ResourceClaimTemplates(space).Create(t.Context(), decode[resourcev1.ResourceClaimTemplate](t, w, `
metadata: {name: one}
spec:
  spec: {devices: {requests: [{name: device, exactly: {deviceClassName: `+driver+`}}]}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.ResourceClaims(space).Create(t.Context(), decode[resourcev1.ResourceClaim](t, w, `
metadata: {name: shared}
spec: {devices: {requests: [{name: device, exactly: {deviceClassName: `+driver+`}}]}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	template := func(name, source string) string {
		return `
metadata: {name: ` + name + `}
spec:
  resourceClaims: [{name: device, ` + source + `}]
  containers: [{name: main, image: IMAGE, resources: {claims: [{name: device}]}}]
`
	}
	own := runPod(t, w, w.A, space, template("own", "resourceClaimTemplateName: one"))
	require.Equal(t, nodeNames(t, w)[0], own.Spec.NodeName)
	sharers := []*corev1.Pod{
		runPod(t, w, w.A, space, template("sharer-0", "resourceClaimName: shared")),
		runPod(t, w, w.A, space, template("sharer-1", "resourceClaimName: shared")),
	}
	consumers := map[string][]string{}
	devices := map[string]bool{}
	eventually(t, "both claims allocated, and reserved for the tenant's pods", func(ctx context.Context) (bool, string) {
		list, err := client.ResourceClaims(space).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		clear(consumers)
		clear(devices)
		for _, claim := range list.Items {
			if claim.Status.Allocation == nil {
				return false, claim.Name + " is not allocated"
			}
			devices[claim.Status.Allocation.Devices.Results[0].Device] = true
			for _, consumer := range claim.Status.ReservedFor {
				consumers[claim.Name] = append(consumers[claim.Name], string(consumer.UID))
			}
		}
		return len(consumers["shared"]) == 2 && len(list.Items) == 2, fmt.Sprint(consumers)
	})
	require.Len(t, devices, 2)
	require.ElementsMatch(t, []string{string(sharers[0].UID), string(sharers[1].UID)}, consumers["shared"])
	generated := *waitPod(t, w.A, space, "own", "names its claim", func(pod *corev1.Pod) bool {
		return len(pod.Status.ResourceClaimStatuses) == 1
	}).Status.ResourceClaimStatuses[0].ResourceClaimName
	require.Equal(t, []string{string(own.UID)}, consumers[generated])
	if w.Real {
		requireDevice(t, w, own, generated)
	}

	// There is no third device.
	createPod(t, w, w.A, space, template("late", "resourceClaimTemplateName: one"))
	event := waitEvent(t, w.A, space, "late", "FailedScheduling", "cannot allocate all claims")
	late := waitPod(t, w.A, space, "late", "waits", func(pod *corev1.Pod) bool { return condition(pod, corev1.PodScheduled) == corev1.ConditionFalse })
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, late), event.Message+asJSON(late.Status))
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "own", metav1.DeleteOptions{}))
	waitPod(t, w.A, space, "late", "has the device", isReady)
	eventually(t, "the end of the claim that was made for a pod", func(ctx context.Context) (bool, string) {
		_, err := client.ResourceClaims(space).Get(ctx, generated, metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	// A claim that nobody uses is free again, though it stays.
	for _, pod := range sharers {
		require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}))
	}
	eventually(t, "the shared device free again", func(ctx context.Context) (bool, string) {
		claim, err := client.ResourceClaims(space).Get(ctx, "shared", metav1.GetOptions{})
		return err == nil && claim.Status.Allocation == nil && len(claim.Status.ReservedFor) == 0, errText(err) + asJSON(claim)
	})
	require.NoError(t, client.ResourceClaims(space).Delete(t.Context(), "shared", metav1.DeleteOptions{}))
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "late", metav1.DeleteOptions{}))
	waitNoHostPods(t, w, w.A, space)
	eventually(t, "the end of the host's claims", func(ctx context.Context) (bool, string) {
		list, err := w.Host.ResourceV1().ResourceClaims(w.HostNamespace).List(ctx, metav1.ListOptions{LabelSelector: "nestling.dev/namespace=" + space})
		return err == nil && len(list.Items) == 0, strconv.Itoa(len(list.Items)) + errText(err)
	})
}

// requireDevice wants the driver to have prepared the device of a pod's claim, and its words
// to be about the tenant's objects.
func requireDevice(t *testing.T, w *World, pod *corev1.Pod, name string) {
	t.Helper()
	var device resourcev1.AllocatedDeviceStatus
	eventually(t, "the driver's word on claim "+name, func(ctx context.Context) (bool, string) {
		claim, err := w.A.Client.ResourceV1().ResourceClaims(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil || len(claim.Status.Devices) != 1 {
			return false, errText(err)
		}
		device = claim.Status.Devices[0]
		return true, ""
	})
	require.Equal(t, fmt.Sprintf("prepared %s for claim %s/%s", device.Device, pod.Namespace, name), device.Conditions[0].Message)
}

// apiQuantity is a number of bytes as manifests write it.
func apiQuantity(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }

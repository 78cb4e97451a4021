package main

import (
	"context"
	"fmt"
	"os"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
)

// driver prepares a claim by saying so in its status.
type driver struct {
	name   string
	client kubernetes.Interface
}

func (d *driver) PrepareResourceClaims(ctx context.Context, claims []*resourcev1.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	out := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		devices, err := d.prepare(ctx, claim)
		out[claim.UID] = kubeletplugin.PrepareResult{Devices: devices, Err: err}
	}
	return out, nil
}

func (d *driver) prepare(ctx context.Context, claim *resourcev1.ResourceClaim) ([]kubeletplugin.Device, error) {
	var devices []kubeletplugin.Device
	status := claim.DeepCopy()
	status.Status.Devices = nil
	for _, result := range claim.Status.Allocation.Devices.Results {
		if result.Driver != d.name {
			continue
		}
		devices = append(devices, kubeletplugin.Device{
			Requests: []string{result.Request}, PoolName: result.Pool, DeviceName: result.Device,
		})
		status.Status.Devices = append(status.Status.Devices, resourcev1.AllocatedDeviceStatus{
			Driver: d.name, Pool: result.Pool, Device: result.Device,
			Conditions: []metav1.Condition{{
				Type: "Ready", Status: metav1.ConditionTrue, Reason: "Prepared", LastTransitionTime: metav1.Now(),
				// As real drivers do, it names what it has in hand.
				Message: fmt.Sprintf("prepared %s for claim %s/%s", result.Device, claim.Namespace, claim.Name),
			}},
		})
	}
	_, err := d.client.ResourceV1().ResourceClaims(claim.Namespace).UpdateStatus(ctx, status, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("write the status of devices: %w", err) // kubelet asks again
	}
	return devices, nil
}

func (d *driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	out := map[types.UID]error{}
	for _, claim := range claims {
		out[claim.UID] = nil
	}
	return out, nil
}

// HandleError is told of what goes wrong beside: it is tried again.
func (d *driver) HandleError(_ context.Context, err error, message string) {
	fmt.Fprintln(os.Stderr, message, err)
}

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node, AccessibleTopology: d.topology()}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{{
		Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_EXPAND_VOLUME}},
	}}}, nil
}

// NodePublishVolume binds the volume to where the pod will see it.
func (d *driver) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	target, volume := request.GetTargetPath(), d.volume(request.GetVolumeId())
	if !exists(volume + sizeFile) {
		return nil, status.Errorf(codes.NotFound, "no volume %s", request.GetVolumeId())
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, failed(err)
	}
	var here, there unix.Stat_t
	if unix.Stat(volume, &here) == nil && unix.Stat(target, &there) == nil && here.Dev == there.Dev {
		return &csi.NodePublishVolumeResponse{}, nil // bound already
	}
	if err := unix.Mount(volume, target, "", unix.MS_BIND, ""); err != nil {
		return nil, failed(fmt.Errorf("bind %s to %s: %w", volume, target, err))
	}
	if request.GetReadonly() {
		if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return nil, failed(err)
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (d *driver) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := unmount(request.GetTargetPath()); err != nil {
		return nil, failed(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, failed(os.RemoveAll(request.GetTargetPath()))
}

func (d *driver) NodeExpandVolume(_ context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := request.GetCapacityRange().GetRequiredBytes()
	if err := mountVolume(d.volume(request.GetVolumeId()), size, unix.MS_REMOUNT); err != nil {
		return nil, failed(err)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}

package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	var out csi.ControllerGetCapabilitiesResponse
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_MODIFY_VOLUME,
	} {
		out.Capabilities = append(out.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return &out, nil
}

func (d *driver) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, size := idOf(request.GetName()), request.GetCapacityRange().GetRequiredBytes()
	if size == 0 {
		size = defaultSize
	}
	out := &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: id, CapacityBytes: size, ContentSource: request.GetVolumeContentSource(),
		AccessibleTopology: []*csi.Topology{d.topology()},
		// As drivers do that were told of the claim (--extra-create-metadata).
		VolumeContext: request.GetParameters(),
	}}
	if exists(d.volume(id) + sizeFile) {
		return out, nil
	}
	if err := os.MkdirAll(d.volume(id), 0o755); err != nil {
		return nil, failed(err)
	}
	if err := mountVolume(d.volume(id), size, 0); err != nil {
		return nil, failed(err)
	}
	from := ""
	switch source := request.GetVolumeContentSource(); {
	case source.GetVolume() != nil:
		from = d.volume(source.GetVolume().GetVolumeId())
	case source.GetSnapshot() != nil:
		from = d.snapshot(source.GetSnapshot().GetSnapshotId())
	}
	if from != "" {
		if err := copyFiles(from, d.volume(id)); err != nil {
			return nil, failed(d.discard(id, err))
		}
	}
	return out, nil
}

func (d *driver) discard(id string, because error) error {
	if err := d.deleteVolume(id); err != nil {
		return err
	}
	return because
}

func (d *driver) deleteVolume(id string) error {
	if err := unmount(d.volume(id)); err != nil {
		return err
	}
	for _, path := range []string{sizeFile, attributesFile, ""} {
		if err := os.RemoveAll(d.volume(id) + path); err != nil {
			return err
		}
	}
	return nil
}

func (d *driver) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &csi.DeleteVolumeResponse{}, failed(d.deleteVolume(request.GetVolumeId()))
}

func (d *driver) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeCapabilities: request.GetVolumeCapabilities(),
	}}, nil
}

func (d *driver) GetCapacity(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	return &csi.GetCapacityResponse{AvailableCapacity: capacity}, nil
}

// ControllerExpandVolume leaves the mount to the node, as drivers of disks do.
func (d *driver) ControllerExpandVolume(_ context.Context, request *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if !exists(d.volume(request.GetVolumeId()) + sizeFile) {
		return nil, status.Errorf(codes.NotFound, "no volume %s", request.GetVolumeId())
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: request.GetCapacityRange().GetRequiredBytes(), NodeExpansionRequired: true}, nil
}

// ControllerModifyVolume notes attributes, since a tmpfs has none.
func (d *driver) ControllerModifyVolume(_ context.Context, request *csi.ControllerModifyVolumeRequest) (*csi.ControllerModifyVolumeResponse, error) {
	text, err := json.Marshal(request.GetMutableParameters())
	if err != nil {
		return nil, failed(err)
	}
	return &csi.ControllerModifyVolumeResponse{}, failed(os.WriteFile(d.volume(request.GetVolumeId())+attributesFile, text, 0o600))
}

func (d *driver) CreateSnapshot(_ context.Context, request *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, source := idOf(request.GetName()), request.GetSourceVolumeId()
	if !exists(d.snapshot(id) + sizeFile) {
		if err := d.take(id, source); err != nil {
			return nil, failed(err)
		}
	}
	taken, err := d.snapshotOf(id)
	return &csi.CreateSnapshotResponse{Snapshot: taken}, failed(err)
}

func (d *driver) take(id, source string) error {
	size, err := readSize(d.volume(source))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.snapshot(id), 0o755); err != nil {
		return err
	}
	if err := copyFiles(d.volume(source), d.snapshot(id)); err != nil {
		return err
	}
	if err := os.WriteFile(d.snapshot(id)+sourceFile, []byte(source), 0o600); err != nil {
		return err
	}
	return writeSize(d.snapshot(id), size)
}

func (d *driver) snapshotOf(id string) (*csi.Snapshot, error) {
	size, err := readSize(d.snapshot(id))
	if err != nil {
		return nil, err
	}
	source, err := os.ReadFile(d.snapshot(id) + sourceFile)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(d.snapshot(id) + sizeFile)
	if err != nil {
		return nil, err
	}
	return &csi.Snapshot{
		SnapshotId: id, SourceVolumeId: string(source), SizeBytes: size, ReadyToUse: true, CreationTime: timestamppb.New(info.ModTime()),
	}, nil
}

func (d *driver) DeleteSnapshot(_ context.Context, request *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, path := range []string{sizeFile, sourceFile, ""} {
		if err := os.RemoveAll(d.snapshot(request.GetSnapshotId()) + path); err != nil {
			return nil, failed(err)
		}
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// ListSnapshots is asked about one at a time.
func (d *driver) ListSnapshots(_ context.Context, request *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken, err := d.snapshotOf(request.GetSnapshotId())
	if err != nil {
		return &csi.ListSnapshotsResponse{}, nil // none such
	}
	return &csi.ListSnapshotsResponse{Entries: []*csi.ListSnapshotsResponse_Entry{{Snapshot: taken}}}, nil
}

package resources_test

import (
	"testing"

	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

func TestPersistentVolumeClaims(t *testing.T) {
	t.Parallel()
	golden.Run(t, resources.PersistentVolumeClaims(false))
}
func TestPersistentVolumes(t *testing.T) {
	t.Parallel()
	golden.Run(t, resources.PersistentVolumes(false))
}
func TestStorageClasses(t *testing.T) { t.Parallel(); golden.Run(t, resources.StorageClasses()) }
func TestCSIDrivers(t *testing.T)     { t.Parallel(); golden.Run(t, resources.CSIDrivers()) }
func TestCSINodes(t *testing.T)       { t.Parallel(); golden.Run(t, resources.CSINodes(false)) }
func TestVolumeAttributesClasses(t *testing.T) {
	t.Parallel()
	golden.Run(t, resources.VolumeAttributesClasses())
}
func TestVolumeSnapshots(t *testing.T) { t.Parallel(); golden.Run(t, resources.VolumeSnapshots()) }
func TestVolumeSnapshotContents(t *testing.T) {
	t.Parallel()
	golden.Run(t, resources.VolumeSnapshotContents())
}
func TestVolumeSnapshotClasses(t *testing.T) {
	t.Parallel()
	golden.Run(t, resources.VolumeSnapshotClasses())
}
func TestCSIStorageCapacities(t *testing.T) {
	t.Parallel()
	golden.Run(t, resources.CSIStorageCapacities())
}

// Package csi gives a host what a platform has of storage: a CSI driver with upstream's
// sidecars (provisioner, resizer, snapshotter) and its snapshot controller, built from
// their Go modules in e2e/csibins and run as processes of the first node, whose kubelet
// mounts the volumes.
//
// The driver is our own, since no module proxy serves upstream's csi-driver-host-path: a
// volume is a tmpfs of its size, so that data outlives pods and growth shows in `df`.
//
// The host gets two classes, of the names that the simulated host has too: "standard",
// the default, binds when the first pod has a node and deletes; "immediate" binds at once
// and retains.
package csi

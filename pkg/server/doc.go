// Package server is one tenant's process: it puts the components together, in the
// order of their dependence, and hands to each what the ones before it found out.
//
//	host → pki → etcd → kubelet API → API server → kubeconfig → controller manager → syncer → dns
//
// A component that fails ends the process. What a restart needs is on the data
// directory and in the host Secret of the PKI; everything else is derived.
package server

// Package controlplane runs upstream's kube-apiserver and
// kube-controller-manager inside the process.
//
// SetGlobals comes first, once per process; then NewAPIServer; and, when that is
// ready, NewControllerManager. Both are components in the sense of
// pkg/lifecycle. Two API servers can run in one process; the controller manager
// can run only once per process, a limit of upstream.
//
// This package and the hosts of development (simhost, e2e) are the only ones
// that import k8s.io/kubernetes.
package controlplane

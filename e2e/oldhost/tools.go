//go:build tools

// Package oldhost pins the API server of a host that is two minor versions older than
// the tenants' own: what upstream's version skew policy has them meet.
package oldhost

import _ "k8s.io/kubernetes/cmd/kube-apiserver"

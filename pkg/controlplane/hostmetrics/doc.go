// Package hostmetrics serves metrics.k8s.io to the tenant from the host's metrics API.
package hostmetrics

import (
	_ "k8s.io/kube-openapi/pkg/spec3"
	_ "k8s.io/metrics/pkg/client/clientset/versioned"
	_ "sigs.k8s.io/metrics-server/pkg/api"
)

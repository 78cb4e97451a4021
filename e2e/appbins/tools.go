//go:build tools

// Package appbins pins what the story of a Helm chart needs: helm, and the application
// that the chart installs.
package appbins

import (
	_ "github.com/nats-io/nats-server/v2"
	_ "helm.sh/helm/v3/cmd/helm"
)

package controlplane

import (
	"context"
	"net/http"

	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// MetricsUser is who scrapes the tenant's API for whoever runs the host: the path
// MetricsPath is all that it may read.
const MetricsUser = "nestling:metrics"

// MetricsPath of the API server.
const MetricsPath = "/metrics"

// confineScraper makes that so. It is no role in the tenant's RBAC: the tenant could take
// it away, and give more to a credential that lies outside of the tenant. Nor would a role
// take away what every authenticated user may read.
func confineScraper(config *app.Config) {
	for _, to := range []*authorizer.Authorizer{
		&config.Aggregator.GenericConfig.Authorization.Authorizer, // decides about requests
		&config.KubeAPIs.ControlPlane.Generic.Authorization.Authorizer,
		&config.ApiExtensions.GenericConfig.Authorization.Authorizer,
	} {
		*to = confined{*to}
	}
}

type confined struct{ authorizer.Authorizer }

// Authorize is part of authorizer.Authorizer.
func (c confined) Authorize(ctx context.Context, request authorizer.Attributes) (authorizer.Decision, string, error) {
	if user := request.GetUser(); user == nil || user.GetName() != MetricsUser {
		return c.Authorizer.Authorize(ctx, request)
	}
	if !request.IsResourceRequest() && request.GetPath() == MetricsPath && request.GetVerb() == "get" {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionDeny, MetricsUser + " may " + http.MethodGet + " " + MetricsPath + " and nothing else", nil
}

package server

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/dns"
)

func TestWhichServiceIsTheTenantsDNS(t *testing.T) {
	t.Parallel()
	service := func(ip, owner string) *corev1.Service {
		out := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: ip}}
		if owner != "" {
			out.Spec.Selector = map[string]string{deploy.ControlPlaneLabel: owner}
		}
		return out
	}
	for name, test := range map[string]struct {
		service *corev1.Service
		want    string
	}{
		"none":                                  {nil, ""},
		"that of the manifests":                 {service("10.96.0.53", "team-a"), "10.96.0.53"},
		"one with endpoints by hand":            {service("10.96.0.53", ""), "10.96.0.53"},
		"headless":                              {service("None", "team-a"), ""},
		"the API of a tenant called team-a-dns": {service("10.96.0.53", "team-a-dns"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{names: deploy.Names{Tenant: "team-a", Namespace: "tenants"}}
			s.dnsIP = s.findDNS(t.Context(), test.service)
			require.Equal(t, test.want, s.dnsAddress())
			require.Equal(t, test.want != "", s.isDNSService(dns.ServiceNamespace, dns.ServiceName))
			require.False(t, s.isDNSService("default", dns.ServiceName))
			require.Equal(t, test.want == "", s.checkDNS(nil) == nil, "readiness waits for a DNS that there shall be")
		})
	}
}

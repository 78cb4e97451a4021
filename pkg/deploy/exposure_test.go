package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/pkg/config"
)

func TestExposureObjects(t *testing.T) {
	t.Parallel()
	for name, exposure := range map[string]config.Exposure{
		"load-balancer": {
			Type: config.ExposeLoadBalancer, Port: 6443, LoadBalancerClass: "example.com/internal", SourceRanges: []string{"192.0.2.0/24"},
			Annotations: map[string]string{"example.com/scheme": "internal"},
		},
		"node-port": {Type: config.ExposeNodePort, NodePort: 30443},
		"ingress": {
			Type: config.ExposeIngress, Host: "team-a.example.com", IngressClassName: "public",
			Annotations: map[string]string{"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"},
		},
		"gateway": {
			Type: config.ExposeGateway, Host: "team-a.example.com",
			ParentRefs: []config.ParentRef{{Namespace: "infra", Name: "public", SectionName: "tls"}, {Name: "own"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := example()
			o.Config.APIServer.Exposure = exposure
			var got bytes.Buffer
			for _, object := range append([]Object{service(o)}, routes(o)...) {
				document, err := document(object)
				require.NoError(t, err)
				got.WriteString("---\n")
				got.Write(document)
			}
			golden := filepath.Join("testdata", "exposure-"+name+".yaml")
			if *update {
				require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(string(want), got.String()))
			require.NotEqual(t, corev1.ClusterIPNone, service(o).Spec.ClusterIP)
		})
	}
}

// What another namespace grants is two verbs on Secrets by their names, and never the making of one.
func TestKubeconfigsInOtherNamespaces(t *testing.T) {
	t.Parallel()
	o := example()
	o.Config.Kubeconfigs = []config.Kubeconfig{
		{Secret: config.ObjectRef{Name: "reader"}, User: "reader"}, // in the tenant's own: nothing to grant
		{Secret: config.ObjectRef{Namespace: "argocd", Name: "team-a"}, Format: config.FormatArgoCD},
		{Secret: config.ObjectRef{Namespace: "argocd", Name: "another"}},
		{Secret: config.ObjectRef{Namespace: "flux-system", Name: "team-a"}, Format: config.FormatFlux},
	}
	var got bytes.Buffer
	for _, object := range kubeconfigs(o) {
		document, err := document(object)
		require.NoError(t, err)
		got.WriteString("---\n")
		got.Write(document)
	}
	golden := filepath.Join("testdata", "kubeconfigs.yaml")
	if *update {
		require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), got.String()))

	o.Config.Kubeconfigs[0].Secret.Name = "team-a-pki"
	require.EqualError(t, o.Validate(), `config: kubeconfigs[0].secret.name: "team-a-pki" is the tenant's own`)
}

func TestBadExposureNamesTheField(t *testing.T) {
	t.Parallel()
	o := example()
	o.Config.APIServer.Exposure.Type = config.ExposeNodePort
	require.NoError(t, o.Validate())
	o.Namespaced = true
	require.EqualError(t, o.Validate(), "config: apiServer.exposure.host: is required for type NodePort where nodes.mirror is used: the addresses of nodes are not read")
	o.Config.APIServer.Exposure.Host = "nodes.example.com"
	require.NoError(t, o.Validate())
}

package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func TestBadKubeconfigsNameTheField(t *testing.T) {
	t.Parallel()
	secret := ObjectRef{Namespace: "argocd", Name: "team-a"}
	for name, test := range map[string]struct {
		kubeconfigs []Kubeconfig
		want        string
	}{
		"no Secret":                    {[]Kubeconfig{{}}, `kubeconfigs[0].secret.name: is required`},
		"a Secret twice":               {[]Kubeconfig{{Secret: secret}, {Secret: secret, User: "a"}}, `kubeconfigs[1].secret: argocd/team-a is that of kubeconfigs[0] too`},
		"the administrator's own":      {[]Kubeconfig{{Secret: ObjectRef{Name: "team-a-kubeconfig"}}}, `kubeconfigs[0].secret.name: "team-a-kubeconfig" is the tenant's own`},
		"the tenant's keys":            {[]Kubeconfig{{Secret: ObjectRef{Namespace: "tenants", Name: "team-a-pki"}}}, `kubeconfigs[0].secret.name: "team-a-pki" is the tenant's own`},
		"a format that nobody reads":   {[]Kubeconfig{{Secret: secret, Format: "helm"}}, `kubeconfigs[0].format: "helm" is not one of kubeconfig, argocd, flux`},
		"two identities":               {[]Kubeconfig{{Secret: secret, ServiceAccount: &ObjectRef{Name: "a"}, User: "b"}}, `kubeconfigs[0].user: cannot go together with serviceAccount`},
		"a user of Kubernetes's":       {[]Kubeconfig{{Secret: secret, User: "system:admin"}}, `kubeconfigs[0].user: "system:admin" is Kubernetes's or ours: leave user out for the administrator`},
		"a group of Kubernetes's":      {[]Kubeconfig{{Secret: secret, User: "a", Groups: []string{"system:masters"}}}, `kubeconfigs[0].groups: "system:masters" is empty, Kubernetes's, or ours`},
		"a role for the administrator": {[]Kubeconfig{{Secret: secret, ClusterRole: "view"}}, `kubeconfigs[0].clusterRole: needs a serviceAccount or a user: the administrator may do everything`},
		"a Role of no namespace":       {[]Kubeconfig{{Secret: secret, User: "a", Role: "b"}}, `kubeconfigs[0].namespaces: is required with role: where the Role is`},
		"namespaces without a role":    {[]Kubeconfig{{Secret: secret, User: "a", Namespaces: []string{"b"}}}, `kubeconfigs[0].namespaces: needs a clusterRole or a role`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Default()
			c.Tenant, c.Host.Namespace, c.Kubeconfigs = "team-a", "tenants", test.kubeconfigs
			_, err := c.Complete()
			require.EqualError(t, err, "config: "+test.want)
		})
	}
}

func TestKubeconfigsByFlag(t *testing.T) {
	t.Parallel()
	c, err := load(t, "", nil, "--tenant=a", "--host-namespace=b",
		"--kubeconfigs=[{secret: {namespace: argocd, name: a}, format: argocd, serviceAccount: {name: argocd}, clusterRole: cluster-admin}, {secret: {name: more}}]")
	require.NoError(t, err)
	done, err := c.Complete()
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]Kubeconfig{
		{
			Secret: ObjectRef{Namespace: "argocd", Name: "a"}, Format: FormatArgoCD, ClusterName: "a",
			ServiceAccount: &ObjectRef{Namespace: "kube-system", Name: "argocd"}, ClusterRole: "cluster-admin",
		},
		{Secret: ObjectRef{Namespace: "b", Name: "more"}, Format: FormatKubeconfig, ClusterName: "a"},
	}, done.Kubeconfigs))
	require.EqualError(t, (&flow[[]Kubeconfig]{to: &c.Kubeconfigs}).Set("[{sekret: a}]"), `unknown field "[0].sekret"`)
}

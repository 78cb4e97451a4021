package serviceip

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/admission"
)

// The tenant's DNS has the address of a host Service that came with the tenant.
func TestServicesOfTheProcessAreNoBusinessOfTheHosts(t *testing.T) {
	t.Parallel()
	host := &fakeHost{}
	plugin := plugin(host)
	plugin.options.Own = func(namespace, name string) bool { return namespace == "default" && name == "kube-dns" }
	service := parse(t, "kube-dns", `{clusterIP: 10.96.0.53, ports: [{port: 53}]}`)
	before := service.DeepCopy()
	require.NoError(t, plugin.Admit(t.Context(), attributes(service, nil, admission.Create, false), nil))
	require.Empty(t, cmp.Diff(before, service))
	require.Empty(t, host.asked)
	require.NoError(t, plugin.Admit(t.Context(), attributes(parse(t, "web", `{ports: [{port: 80}]}`), nil, admission.Create, false), nil))
	require.Len(t, host.asked, 1)
}

package controlplane

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"nestling.dev/nestling/pkg/pki"
)

// TestAdmissionIsUpstreamsAndOurs compares a tenant's admission with that of a
// kube-apiserver without flags: the same plugins are on, in the same order, but for ours.
func TestAdmissionIsUpstreamsAndOurs(t *testing.T) {
	t.Parallel()
	opts, err := APIServerOptions{
		EtcdEndpoint: "unix:///nowhere", PKI: newBundle(t), Dir: t.TempDir(), AdvertiseAddress: net.IPv4(192, 0, 2, 1),
		MutatingLast: []AdmissionPlugin{{"Ours", func(io.Reader) (admission.Interface, error) { return nil, nil }}},
	}.complete()
	require.NoError(t, err)
	run := options.NewServerRunOptions()
	flagSets := run.Flags()
	require.NoError(t, setFlags(&flagSets, opts.flags(nil)))
	opts.register(run.Admission.GenericAdmission)

	stock, ours := options.NewServerRunOptions().Admission, run.Admission
	require.Equal(t, stock.PluginNames, ours.PluginNames)
	require.Equal(t, stock.GenericAdmission.EnablePlugins, ours.GenericAdmission.EnablePlugins)
	require.Equal(t, stock.GenericAdmission.DisablePlugins, ours.GenericAdmission.DisablePlugins)
	require.Equal(t, stock.GenericAdmission.DefaultOffPlugins, ours.GenericAdmission.DefaultOffPlugins)
	order := slices.DeleteFunc(slices.Clone(ours.GenericAdmission.RecommendedPluginOrder), func(name string) bool { return name == "Ours" })
	require.Equal(t, stock.GenericAdmission.RecommendedPluginOrder, order)
}

// TestAPIsAreUpstreams: what is served by default and what is stored is not touched.
func TestAPIsAreUpstreams(t *testing.T) {
	t.Parallel()
	opts, err := APIServerOptions{EtcdEndpoint: "unix:///nowhere", PKI: newBundle(t), Dir: t.TempDir(), AdvertiseAddress: net.IPv4(192, 0, 2, 1)}.complete()
	require.NoError(t, err)
	for _, flag := range []string{"runtime-config", "feature-gates", "storage-media-type", "emulated-version"} {
		require.NotContains(t, opts.flags(nil), flag)
	}
}

func newBundle(t *testing.T) *pki.Bundle {
	t.Helper()
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	return bundle
}

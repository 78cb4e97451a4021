package controlplane_test

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/pki"
)

func TestAPIServerOptionsThatCannotWork(t *testing.T) {
	t.Parallel()
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	tests := map[string]struct {
		change  func(opts *controlplane.APIServerOptions)
		message string
	}{
		"no etcd":                      {func(o *controlplane.APIServerOptions) { o.EtcdEndpoint = "" }, "apiserver: the etcd endpoint is missing"},
		"no PKI":                       {func(o *controlplane.APIServerOptions) { o.PKI = nil }, "apiserver: the PKI is missing"},
		"no directory":                 {func(o *controlplane.APIServerOptions) { o.Dir = "" }, "apiserver: the directory for certificates is missing"},
		"a loopback address":           {func(o *controlplane.APIServerOptions) { o.AdvertiseAddress = net.IPv4(127, 0, 0, 1) }, `apiserver: advertise address "127.0.0.1" is not an address that pods could reach`},
		"a service range that is none": {func(o *controlplane.APIServerOptions) { o.ServiceCIDR = "10.96.0.0" }, "apiserver: service range: invalid CIDR address: 10.96.0.0"},
		"a service IP elsewhere":       {func(o *controlplane.APIServerOptions) { o.ServiceIP = net.IPv4(172, 16, 0, 1) }, "apiserver: service IP 172.16.0.1 is not in the service range 10.96.0.0/12"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := controlplane.APIServerOptions{
				EtcdEndpoint:     "unix:///nowhere/etcd.sock",
				PKI:              bundle,
				Dir:              t.TempDir(),
				AdvertiseAddress: net.ParseIP("192.0.2.1"),
				ServiceCIDR:      "10.96.0.0/12",
			}
			test.change(&opts)
			_, err := controlplane.NewAPIServer(opts)
			require.EqualError(t, err, test.message)
		})
	}
}

func TestPortInUseIsOneClearLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "apiserver")
	server, err := controlplane.NewAPIServer(controlplane.APIServerOptions{
		EtcdEndpoint:     "unix:///nowhere/etcd.sock",
		PKI:              bundle,
		Dir:              dir,
		BindAddress:      net.IPv4(127, 0, 0, 1),
		Port:             taken.Addr().(*net.TCPAddr).Port,
		AdvertiseAddress: net.ParseIP("192.0.2.1"),
	})
	require.NoError(t, err)

	err = server.Run(t.Context(), func() { t.Error("it must not become ready") })
	require.EqualError(t, err, "address "+taken.Addr().String()+" is in use by another process")
	require.NoDirExists(t, dir, "nothing is half-made")
	_, err = server.ClientConfig("somebody")
	require.EqualError(t, err, "the API server is not ready")
}

package embeddedetcd

import (
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// defaultQuotaBytes is upstream's, set here so that it shows in our metrics and docs.
const defaultQuotaBytes = 2 << 30

// Timing of raft. A member alone elects itself when the election timeout has
// passed, at every start; it has nobody to hear from and nothing to lose, so
// the timeout is a quarter of upstream's. The ticks cost 20 wake-ups per second.
const (
	tickMs     = 50
	electionMs = 250 // at least 5 ticks, upstream's check
)

// config is upstream's default, but alone and on a unix socket.
func (m *Member) config(logger *zap.Logger) *embed.Config {
	config := embed.NewConfig()
	config.Name = "nestling"
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.Dir = m.opts.DataDir
	config.ListenClientUrls = []url.URL{{Scheme: "unix", Path: m.socket()}}
	config.ListenPeerUrls = nil // nobody to talk to

	config.TickMs = tickMs
	config.ElectionMs = electionMs
	config.QuotaBackendBytes = m.opts.QuotaBytes
	if config.QuotaBackendBytes == 0 {
		config.QuotaBackendBytes = defaultQuotaBytes
	}
	// Upstream's default is in its flags only; zero would warn of every request.
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	config.UnsafeNoFsync = m.opts.UnsafeNoFsync

	// The JSON gateway would dial the member itself, for a client that does not exist.
	config.EnableGRPCGateway = false
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return config
}

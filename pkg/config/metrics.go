package config

// Metrics are what the process tells about itself, on /metrics of the tenant's API.
type Metrics struct {
	// ScrapeSecret keeps, in the host Secret TENANT-metrics, a client certificate that may read /metrics and nothing
	// else, with its key and the authority of the tenant's API: ca.crt, tls.crt, tls.key.
	ScrapeSecret bool `json:"scrapeSecret,omitempty"`
}

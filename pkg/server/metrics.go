package server

import (
	"time"

	"nestling.dev/nestling/pkg/metrics"
)

// storeSize is etcd's, for who asks for it.
func (s *server) storeSize() (metrics.StoreSize, bool) {
	size, ok := s.etcd.Size()
	return metrics.StoreSize{Allocated: size.Allocated, InUse: size.InUse, Quota: size.Quota}, ok
}

// expiries are when the certificates in use expire, for who asks for it.
func (s *server) expiries() map[string]time.Time {
	ca, frontProxy := s.pki.Expires()
	out := map[string]time.Time{"ca": ca, "front-proxy-ca": frontProxy}
	if at := s.scrapeExpires.Load(); at != nil {
		out["metrics"] = *at
	}
	return out
}

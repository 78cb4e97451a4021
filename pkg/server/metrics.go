package server

import (
	"sync/atomic"
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
	for name, at := range map[string]*atomic.Pointer[time.Time]{"metrics": &s.scrapeExpires, "kubeconfig": &s.adminExpires} {
		if at := at.Load(); at != nil {
			out[name] = *at
		}
	}
	if s.apiServer != nil {
		out["serving"] = s.apiServer.ServingExpires()
	}
	return out
}

package server

import (
	"nestling.dev/nestling/pkg/metrics"
)

// storeSize is etcd's, for who asks for it.
func (s *server) storeSize() (metrics.StoreSize, bool) {
	size, ok := s.etcd.Size()
	return metrics.StoreSize{Allocated: size.Allocated, InUse: size.InUse, Quota: size.Quota}, ok
}

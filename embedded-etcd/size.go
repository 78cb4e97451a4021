package embeddedetcd

// Size of the database in bytes.
type Size struct {
	// Allocated is that of the file, free pages included. At the quota, writes are refused.
	Allocated int64
	// InUse is the part that is not free pages.
	InUse int64
	// Quota is in Options.
	Quota int64
}

// Size of the database now; false as long as the member does not serve. It costs nothing.
func (m *Member) Size() (Size, bool) {
	running := m.running.Load()
	if running == nil {
		return Size{}, false
	}
	backend := running.Server.Backend()
	return Size{Allocated: backend.Size(), InUse: backend.SizeInUse(), Quota: running.Server.Cfg.QuotaBackendBytes}, true
}

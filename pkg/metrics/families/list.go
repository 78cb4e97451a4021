package families

// Names.
const (
	BuildInfo      = "nestling_build_info"
	ComponentStart = "nestling_component_start_seconds"

	SyncLatency       = "nestling_sync_latency_seconds"
	SyncDuration      = "nestling_sync_duration_seconds"
	SyncQueueDepth    = "nestling_sync_queue_depth"
	SyncObjects       = "nestling_sync_objects"
	SyncFailing       = "nestling_sync_failing_objects"
	SyncWrites        = "nestling_sync_writes_total"
	SyncErrors        = "nestling_sync_errors_total"
	SyncDrift         = "nestling_sync_drift_total"
	SyncHeldDeletions = "nestling_sync_held_deletions"
	SyncSkewed        = "nestling_sync_skewed_total"

	TokenSecrets = "nestling_token_secret_changes_total"

	PreflightVerdicts = "nestling_preflight_verdicts_total"
	PreflightDuration = "nestling_preflight_duration_seconds"

	HostUp         = "nestling_host_up"
	HostUnanswered = "nestling_host_unanswered_total"

	CertificateExpiry = "nestling_certificate_expiry_timestamp_seconds"
	EtcdSize          = "nestling_etcd_size_bytes"
	EtcdInUse         = "nestling_etcd_in_use_bytes"
	EtcdQuota         = "nestling_etcd_quota_bytes"
	TenantExpiry      = "nestling_tenant_expiry_timestamp_seconds"

	InitialObjects = "nestling_initial_objects"
)

// Values of labels.
const (
	ToHost   = "to_host"   // a direction
	FromHost = "from_host" // a direction

	Repaired  = "repaired"
	Recreated = "recreated"
)

const seconds, bytes, timestamp = "seconds", "bytes", "seconds since 1970"

// All families, in the order of the documentation.
func All() []Family {
	// Fast on a calm machine is some milliseconds; what takes a minute has been waiting for something.
	latency := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	return []Family{
		{Name: BuildInfo, Type: Gauge, Labels: []string{"version"},
			Help: "The version of Nestling, as a label; the value is always 1."},
		{Name: ComponentStart, Type: Gauge, Unit: seconds, Labels: []string{"component"},
			Help: "How long the component took from its start until it was ready."},

		{Name: SyncLatency, Type: Histogram, Unit: seconds, Labels: []string{"kind", "direction"}, buckets: latency,
			When: "something was synced",
			Help: "Time from a change that was seen on one side until the write that answers it on the other, waiting for other objects included."},
		{Name: SyncDuration, Type: Histogram, Unit: seconds, Labels: []string{"kind"}, buckets: latency,
			When: "something was synced",
			Help: "Time to observe an object on both sides, decide and write."},
		{Name: SyncQueueDepth, Type: Gauge, Labels: []string{"kind"},
			Help: "Objects that wait for their turn; those that wait for a time to pass do not count."},
		{Name: SyncObjects, Type: Gauge, Labels: []string{"kind", "side"},
			Help: "Objects in the syncer's caches: the tenant's own, and those of the host that are the tenant's or are mirrored."},
		{Name: SyncFailing, Type: Gauge, Labels: []string{"kind"},
			Help: "Objects whose last attempt failed; they are tried again."},
		{Name: SyncWrites, Type: Counter, Labels: []string{"kind", "side", "verb", "outcome"},
			When: "something was synced",
			Help: "Writes of the syncer. At rest it does not move."},
		{Name: SyncErrors, Type: Counter, Labels: []string{"kind"},
			Help: "Attempts to bring an object in line that failed and are tried again."},
		{Name: SyncDrift, Type: Counter, Labels: []string{"kind", "repair"},
			Help: "Host objects that somebody else changed or deleted, and that were repaired or recreated."},
		{Name: SyncHeldDeletions, Type: Gauge, Labels: []string{"kind"},
			Help: "Host objects kept from deletion because too many would go at once."},
		{Name: SyncSkewed, Type: Counter, Labels: []string{"kind", "reason"},
			Help: "Objects of which one side does not take what the other has, most likely because their versions differ."},

		{Name: TokenSecrets, Type: Counter, Labels: []string{"change", "outcome"},
			Help: "Changes of host Secrets with ServiceAccount tokens: made for a new pod, renewed before a token expires, dropped after the pod."},

		{Name: PreflightVerdicts, Type: Counter, Labels: []string{"resource", "verdict"},
			When: "`sync.preflight` is on, and something was asked",
			Help: "Requests of the tenant by what the host would say to them: passed, refused, untold (it could not say) or absent (it did not answer)."},
		{Name: PreflightDuration, Type: Histogram, Unit: seconds, Labels: []string{"verdict"}, buckets: latency,
			When: "`sync.preflight` is on, and something was asked",
			Help: "Time that preflight added to a request of the tenant."},

		{Name: HostUp, Type: Gauge,
			Help: "1 if the host's API answered when it was last asked anything, else 0."},
		{Name: HostUnanswered, Type: Counter,
			Help: "Requests to the host's API that were not answered."},

		{Name: CertificateExpiry, Type: Gauge, Unit: timestamp, Labels: []string{"certificate"},
			Help: "When the certificate that is in use expires."},
		{Name: EtcdSize, Type: Gauge, Unit: bytes,
			Help: "Size of etcd's database. Writes are refused when it reaches the quota; free pages in it are used again before it grows."},
		{Name: EtcdInUse, Type: Gauge, Unit: bytes,
			Help: "The part of etcd's database that is not free pages."},
		{Name: EtcdQuota, Type: Gauge, Unit: bytes,
			Help: "Size of etcd's database at which writes are refused (etcd.quotaBytes)."},
		{Name: TenantExpiry, Type: Gauge, Unit: timestamp,
			When: "the tenant has a time to live",
			Help: "When the tenant removes itself."},

		{Name: InitialObjects, Type: Gauge, Labels: []string{"state"},
			Help: "The operator's initial objects that the tenant has as they should be (kept), and those that its API does not take (failed)."},
	}
}

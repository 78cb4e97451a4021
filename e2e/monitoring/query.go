package monitoring

import (
	"regexp"
	"slices"
	"strings"
)

// Upstream are the families that alerts and dashboard ask for and that are not Nestling's own: they come with the API
// server, client-go, etcd and the Go runtime, on the same page.
func Upstream() []string {
	return []string{
		"apiserver_request_total", "apiserver_request_duration_seconds", "apiserver_resource_objects",
		"rest_client_requests_total",
		"etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds",
		"process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes",
		"go_memstats_heap_inuse_bytes", "go_memstats_stack_inuse_bytes",
	}
}

// Synthetic are the series that Prometheus makes itself.
func Synthetic() []string { return []string{"up"} }

var (
	quoted   = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	matchers = regexp.MustCompile(`\{[^}]*\}`)
	ranges   = regexp.MustCompile(`\[[^\]]*\]`)
	number   = regexp.MustCompile(`\b[0-9][0-9a-zA-Z.]*`)
	grouping = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	word     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\b\s*\(?`)
)

// Families are the names of the families that a query asks for, without the suffixes of histograms.
func Families(query string) []string {
	for _, part := range []*regexp.Regexp{quoted, matchers, ranges, grouping, number} {
		query = part.ReplaceAllString(query, " ")
	}
	var out []string
	for _, found := range word.FindAllString(query, -1) {
		name := strings.TrimSpace(found)
		if strings.HasSuffix(name, "(") || slices.Contains([]string{"and", "or", "unless", "bool", "offset", "by", "without"}, name) {
			continue // a function, or a word of the language
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

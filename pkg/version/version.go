// Package version says which build this is.
package version

import (
	"fmt"
	"runtime"
	"strings"
)

// The Makefile sets these with -ldflags -X; they never change after the link.
// A plain `go build` keeps the values below.
var (
	// version is the release, with a leading v. Makefile's VERSION holds the same default.
	version = "v0.1.0-dev"
	// commit is the full hash of the commit that was built.
	commit = "unknown"
	// kubernetes is the release of Kubernetes inside, with a leading v.
	kubernetes = "v1.36.3"
)

// Info is what `nestling version` prints.
type Info struct {
	Version    string `json:"version"`
	Commit     string `json:"commit"`
	Kubernetes string `json:"kubernetes"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

// Get returns the facts of this build.
func Get() Info {
	return Info{
		Version:    version,
		Commit:     commit,
		Kubernetes: kubernetes,
		Go:         strings.TrimPrefix(runtime.Version(), "go"),
		Platform:   runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// String is one line for people.
func (i Info) String() string {
	return fmt.Sprintf("nestling %s (commit %s, Kubernetes %s, Go %s, %s)", i.Version, i.Commit, i.Kubernetes, i.Go, i.Platform)
}

// UserAgent is how this process names itself to the host's API server, so that the host's audit log tells tenants apart.
func UserAgent(tenant string) string {
	return fmt.Sprintf("nestling/%s (tenant %s)", version, tenant)
}

package controlplanetest

import (
	"fmt"
	"os"
	"testing"
)

// Main runs the tests of a package that share servers, each of which it starts before them
// and puts into its place. It returns the code to exit with: TestMain does.
func Main(m *testing.M, servers ...**Server) int {
	var stops []func() error
	stop := func() (failed bool) {
		for _, stop := range stops {
			if err := stop(); err != nil {
				fmt.Fprintln(os.Stderr, "stop an API server:", err)
				failed = true
			}
		}
		return failed
	}
	for _, server := range servers {
		started, ends, err := Run(Options{})
		if err != nil {
			fmt.Fprintln(os.Stderr, "start an API server:", err)
			stop()
			return 1
		}
		*server, stops = started, append(stops, ends)
	}
	code := m.Run()
	if stop() {
		return 1
	}
	return code
}

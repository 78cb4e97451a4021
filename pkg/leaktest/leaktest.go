// Package leaktest looks for goroutines that tests have left. goleak alone waits for less than
// half a second, which is short for connections and informers that end on a busy machine.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what ends may take.
const patience = 20 * time.Second

// Main runs the tests of a package, and fails them if they leave goroutines. It ends the process.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := find(patience, options); err != nil {
			fmt.Fprintln(os.Stderr, "the tests have passed, but left goroutines:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// VerifyNone fails the test if there are goroutines.
func VerifyNone(t testing.TB, options ...goleak.Option) {
	t.Helper()
	if err := find(patience, options); err != nil {
		t.Error(err)
	}
}

func find(within time.Duration, options []goleak.Option) error {
	deadline := time.Now().Add(within)
	for {
		err := goleak.Find(options...) // it looks several times itself, with pauses
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

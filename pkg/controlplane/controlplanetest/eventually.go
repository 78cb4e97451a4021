package controlplanetest

import (
	"context"
	"testing"
	"time"
)

const (
	// patience is how long a test waits for what must come.
	patience = 20 * time.Second
	// look is how often it looks.
	look = 20 * time.Millisecond
)

// Eventually waits until condition does not complain any more. It works in clean-ups too,
// when the test's own context has ended.
func Eventually(t *testing.T, what string, condition func(ctx context.Context) (complaint string, err error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	for {
		complaint, err := condition(ctx)
		if complaint == "" && err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %s, error %v", what, complaint, err)
		case <-time.After(look):
		}
	}
}

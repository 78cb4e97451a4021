package resources

import (
	"testing"

	"nestling.dev/nestling/syncer/resources/golden"
)

func TestPods(t *testing.T) {
	t.Parallel()
	golden.Run(t, Pods())
}

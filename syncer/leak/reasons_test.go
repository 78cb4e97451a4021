package leak_test

import (
	"fmt"
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

// word is a name that the filler has made, or a place in a list.
var word = regexp.MustCompile(`\[[^\].]*\]`)

// Whatever a tenant writes, what is changed of it on its way has a reason to tell.
func TestEveryChangeHasAReason(t *testing.T) {
	t.Parallel()
	meanings, kinds := known(t), registry()
	missing := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(newFiller(rapid.Uint64().Draw(t, "seed"), meanings), kinds)
		for _, kind := range kinds {
			if kind.Direction != resource.ToHost {
				continue
			}
			for _, virtual := range w.virtual[kind.Resource.Resource] {
				desired, err := kind.ToHost(w.env, virtual)
				if err != nil || !kind.Select(w.env, virtual) {
					continue
				}
				changes, err := explain.Changes(kind, virtual, plan.Stamped(w.env, kind, virtual, desired))
				if err != nil {
					t.Fatal(err)
				}
				for _, change := range changes {
					if change.Reason == explain.Unexplained {
						missing[fmt.Sprintf("%s: %s %s", kind.Name, change.Type, word.ReplaceAllString(change.Field, "[*]"))] = true
					}
				}
			}
		}
	})
	for change := range missing {
		t.Errorf("%s: for no reason; say why among the kind's reasons", change)
	}
}

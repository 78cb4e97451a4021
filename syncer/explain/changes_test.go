package explain_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

// every is every kind that goes to the host.
func every() []resource.Kind {
	var out []resource.Kind
	for _, kind := range resources.Registry(resources.Options{ServiceAccounts: true, Snapshots: true}) {
		if kind.Direction == resource.ToHost {
			out = append(out, kind)
		}
	}
	return out
}

// A translation that changes a field without a reason for its author fails here: add the
// reason to the kind.
func TestEveryChangeOfEveryGoldenCaseHasAReason(t *testing.T) {
	t.Parallel()
	for _, kind := range every() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			files, err := filepath.Glob(filepath.Join("../resources/testdata", kind.Resource.Resource, "*.txtar"))
			require.NoError(t, err)
			seen := 0
			for _, file := range files {
				read, _ := golden.Load(t, kind, file)
				env := read.Env
				if read.Virtual == nil || !kind.Select(env, read.Virtual) {
					continue
				}
				desired, err := kind.ToHost(env, read.Virtual)
				if err != nil {
					continue
				}
				changes, err := explain.Changes(kind, read.Virtual, plan.Stamped(env, kind, read.Virtual, desired))
				require.NoError(t, err)
				require.NotEmpty(t, changes)
				for _, change := range changes {
					require.NotEqual(t, explain.Unexplained, change.Reason, "%s: %s %s", filepath.Base(file), change.Type, change.Field)
					require.False(t, change.Hidden && (change.From != "" || change.To != ""), "%s: %s", file, change.Field)
				}
				seen++
			}
			require.Positive(t, seen, "no case was tried")
		})
	}
}

func TestReasonsAreFoundByTheirFields(t *testing.T) {
	t.Parallel()
	for _, kind := range every() {
		for _, reason := range kind.Reasons {
			require.NotEmpty(t, reason.Why, "%s: %s", kind.Name, reason.Field)
			require.False(t, strings.HasSuffix(reason.Why, "."), "%s: %s: it is part of a sentence", kind.Name, reason.Field)
			require.NotContains(t, reason.Field, "..", kind.Name)
		}
	}
}

// of is the changes of the one golden case, by field.
func of(t *testing.T, kind resource.Kind, file string) map[string]explain.FieldChange {
	t.Helper()
	read, _ := golden.Load(t, kind, filepath.Join("../resources/testdata", kind.Resource.Resource, file+".txtar"))
	env := read.Env
	desired, err := kind.ToHost(env, read.Virtual)
	require.NoError(t, err)
	changes, err := explain.Changes(kind, read.Virtual, plan.Stamped(env, kind, read.Virtual, desired))
	require.NoError(t, err)
	out := map[string]explain.FieldChange{}
	for _, change := range changes {
		out[string(change.Type)+" "+change.Field] = change
	}
	return out
}

func TestWhatIsOfOtherObjectsIsCountedAndNotShown(t *testing.T) {
	t.Parallel()
	changes := of(t, resources.Pods(), "services-of-the-namespace-become-variables")
	var variables explain.FieldChange
	for field, change := range changes {
		if strings.HasSuffix(field, "].env") {
			variables = change
		}
		require.NotContains(t, field, "SERVICE_HOST")
	}
	require.True(t, variables.Hidden)
	require.Greater(t, variables.Count, 7)
	require.Empty(t, variables.To)
	require.True(t, changes["Added metadata.annotations"].Hidden)
	require.Equal(t, "default", changes["Changed metadata.namespace"].From)
	require.Equal(t, "tenants", changes["Changed metadata.namespace"].To)
}

func TestNoDataOfASecretIsShown(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../resources/testdata/secrets/*.txtar")
	require.NoError(t, err)
	kind := resources.Secrets(true)
	for _, file := range files {
		read, _ := golden.Load(t, kind, file)
		if read.Virtual == nil {
			continue
		}
		for field := range of(t, kind, strings.TrimSuffix(filepath.Base(file), ".txtar")) {
			require.NotContains(t, field, " data", file)
			require.NotContains(t, field, "stringData", file)
		}
	}
}

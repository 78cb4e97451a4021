package naming

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The vectors are frozen: a change renames every host object of every tenant.
func TestVectors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 253)
	got := map[string]string{
		"plain":     Host("team-a", "default", "web-0"),
		"digit":     Host("1st", "default", "web"),
		"dots":      Host("team-a", "default", "my.config.v1"),
		"long":      Host("team-a", "kube-system", long),
		"derived":   Derived("tokens", "team-a", "default", "web-0"),
		"nsLabel":   NamespaceLabel("kubernetes.io/metadata.name"),
		"longLabel": LabelValue(long),
	}
	want := map[string]string{
		"derived":   "team-a-default-web-0-3kmans09kh7tils9",
		"digit":     "n1st-default-web-dskda8h5jl25aoip",
		"dots":      "team-a-default-my-config-v1-61jq6hrrqn11oa11",
		"long":      "team-a-kube-system-xxxxxxxxxxxxxxxxxxxxxxxxxxx-gmsu32vvm20s9q31",
		"longLabel": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-2cku3fbhkqjr4tap",
		"nsLabel":   "nestling.dev/ns-ps92fdtislge6gh8",
		"plain":     "team-a-default-web-0-46urpqjqv3bd4fj2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("host names changed (-want +got):\n%s", diff)
	}
}

var dns1035 = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

func name() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9]([-a-z0-9.]{0,120}[a-z0-9])?`)
}

func TestHostNamesAreDNS1035Labels(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		got := Host(name().Draw(t, "tenant"), name().Draw(t, "namespace"), name().Draw(t, "name"))
		if len(got) > MaxLength || !dns1035.MatchString(got) {
			t.Fatalf("%q is no DNS-1035 label of at most %d bytes", got, MaxLength)
		}
	})
}

func TestHostNamesDifferWhereAnyPartDiffers(t *testing.T) {
	t.Parallel()
	parts := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}(-[a-z]{1,2}){0,3}`), 4, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		same := a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3]
		if equal := Derived(a[0], a[1], a[2], a[3]) == Derived(b[0], b[1], b[2], b[3]); equal != same {
			t.Fatalf("%q and %q: equal names %v, equal parts %v", a, b, equal, same)
		}
	})
}

func TestLabelValuesFit(t *testing.T) {
	t.Parallel()
	value := regexp.MustCompile(`^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$`)
	rapid.Check(t, func(t *rapid.T) {
		got := LabelValue(name().Draw(t, "value"))
		if len(got) > MaxLength || !value.MatchString(got) {
			t.Fatalf("%q is no label value", got)
		}
	})
}

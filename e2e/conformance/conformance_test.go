package conformance

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// conformanceSpecs are the names that upstream publishes, by file.
func conformanceSpecs(t *testing.T) []string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes").Output()
	require.NoError(t, err)
	data, err := exec.CommandContext(t.Context(), "cat", strings.TrimSpace(string(dir))+"/test/conformance/testdata/conformance.yaml").Output()
	require.NoError(t, err)
	var specs []struct {
		Codename string `json:"codename"`
	}
	require.NoError(t, yaml.Unmarshal(data, &specs))
	var names []string
	for _, spec := range specs {
		names = append(names, spec.Codename)
	}
	require.Greater(t, len(names), 400)
	return names
}

func TestParallelAndSerialAreAllOfConformance(t *testing.T) {
	t.Parallel()
	all := conformanceSpecs(t)
	count := map[string]int{}
	for _, part := range []Part{Parallel(), Serial()} {
		specs, err := part.choose(all)
		require.NoError(t, err)
		for _, name := range specs {
			count[name]++
		}
	}
	for _, name := range all {
		require.Equal(t, 1, count[name], name)
	}
}

// sig is the group of a spec.
var sig = regexp.MustCompile(`^\[sig-[a-z-]+\]`)

func TestQuickCoversEveryGroup(t *testing.T) {
	t.Parallel()
	covered := map[string]int{}
	for _, name := range append(Quick().specs, QuickSerial().specs...) {
		covered[sig.FindString(name)]++
	}
	all := conformanceSpecs(t)
	of := map[string]int{}
	for _, name := range all {
		of[sig.FindString(name)]++
	}
	for group, specs := range of {
		require.GreaterOrEqual(t, covered[group], min(specs, 3), group)
	}
}

func TestExceptionsAreOfSpecs(t *testing.T) {
	t.Parallel()
	_, err := LoadExceptions()
	require.NoError(t, err)
	for text, want := range map[string]string{
		"host: [{specs: a}]":               "specs and reason are needed",
		"host: [{specs: '(', reason: b}]":  `specs "("`,
		"hosts: [{specs: a, reason: b}]":   `unknown field "hosts"`,
		"tenant: [{specs: '', reason: b}]": "specs and reason are needed",
	} {
		_, err := parseExceptions([]byte(text))
		require.ErrorContains(t, err, want)
	}
	some, err := parseExceptions([]byte("host: [{specs: 'a.*', reason: image}]\ntenant: [{specs: b, reason: shared}]"))
	require.NoError(t, err)
	for _, c := range []struct {
		target, spec, reason string
		ofHost               bool
	}{
		{Host, "ab", "image", true},
		{Tenant, "ab", "image", true},
		{Host, "b", "", false},
		{Tenant, "b", "shared", false},
		{Tenant, "bc", "", false},
	} {
		reason, ofHost := some.reason(c.target, c.spec)
		require.Equal(t, []any{c.reason, c.ofHost}, []any{reason, ofHost}, "%+v", c)
	}
}

func TestChooseRefusesNamesThatTheSuiteHasNot(t *testing.T) {
	t.Parallel()
	_, err := Part{Name: "quick", specs: []string{"a", "b"}}.choose([]string{"a"})
	require.EqualError(t, err, `part quick: the suite has no spec "b" (any more?)`)
	_, err = Part{Name: "none", focus: regexp.MustCompile("x")}.choose([]string{"a"})
	require.EqualError(t, err, `part none: no spec of the suite belongs to it`)
}

func TestSelectionNarrows(t *testing.T) {
	t.Parallel()
	earlier := &Results{Specs: map[string]Result{"a": {Outcome: Passed}, "b": {Outcome: Failed}, "c": {Outcome: Skipped}}}
	specs := []string{"a", "b", "c", "d", "e"}
	excepted := func(name string) bool { return name == "e" }
	for want, selection := range map[string]Selection{
		"a b c d": {},
		"b":       {OnlyFailed: true},
		"d":       {Resume: true},
		"a b":     {Focus: regexp.MustCompile("[ab]")},
		"c d":     {Skip: regexp.MustCompile("[ab]")},
		"e":       {Focus: regexp.MustCompile("e"), Excepted: true},
		"":        {OnlyFailed: true, Skip: regexp.MustCompile("b")},
	} {
		require.Equal(t, want, strings.Join(selection.narrow(specs, earlier, excepted), " "), "%+v", selection)
	}
}

// Ginkgo matches the suite's name and the spec's: a selection takes that spec and no other.
func TestFocusesSelectNames(t *testing.T) {
	t.Parallel()
	var specs []string
	for i := range 250 {
		specs = append(specs, "[sig-x] a (b) $ "+strings.Repeat("x", i))
	}
	flags := focuses(specs)
	require.Len(t, flags, 3)
	matches := func(name string) (count int) {
		for _, flag := range flags {
			if regexp.MustCompile(strings.TrimPrefix(flag, "--focus=")).MatchString("Kubernetes e2e suite " + name) {
				count++
			}
		}
		return count
	}
	for _, name := range specs {
		require.Equal(t, 1, matches(name))
	}
	require.Zero(t, matches(specs[0]+"y"))
	require.Zero(t, matches("y"+specs[0]))
}

func TestListedNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "[sig-x] a: b.go:12: c", listed.FindStringSubmatch("    k8s.io/kubernetes@v1.36.3/test/e2e/a.go:258: [sig-x] a: b.go:12: c\n")[1])
	require.Nil(t, listed.FindStringSubmatch("The following spec names can be used with 'ginkgo run --focus/skip':\n"))
}

func TestParseReport(t *testing.T) {
	t.Parallel()
	found, err := ParseReport([]byte(`[{"SpecReports": [
		{"LeafNodeType": "BeforeSuite", "State": "passed"},
		{"ContainerHierarchyTexts": ["[sig-a] A", "b"], "LeafNodeType": "It", "LeafNodeText": "c", "State": "passed", "RunTime": 1500000000},
		{"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeType": "It", "LeafNodeText": "d", "State": "timedout", "Failure": {"Message": "one\ntwo"}},
		{"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeType": "It", "LeafNodeText": "e", "State": "skipped"},
		{"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeType": "It", "LeafNodeText": "f", "State": "skipped", "Failure": {"Message": "wants IPv6"}}
	]}]`))
	require.NoError(t, err)
	require.Equal(t, map[string]Result{
		"[sig-a] A b c": {Outcome: Passed, Seconds: 1.5},
		"[sig-a] A d":   {Outcome: Failed, Message: "one"},
		"[sig-a] A f":   {Outcome: Skipped, Message: "wants IPv6"},
	}, found)
}

// Both forms are what ginkgo prints with -v: side by side, and one at a time.
func TestRecorderKeepsEveryOutcome(t *testing.T) {
	t.Parallel()
	for form, c := range map[string]struct {
		alone  bool
		output string
	}{
		"side by side": {false, `[sig-a] one [Conformance]: not a spec's line
------------------------------
• [1.234 seconds]
[sig-a] one [Conformance] [sig-a, Conformance]
k8s.io/kubernetes/test/e2e/a.go:12

  STEP: Creating
------------------------------
• [FAILED] [0.100 seconds]
[sig-a] two [It] fails [sig-a]
k8s.io/kubernetes/test/e2e/a.go:13
------------------------------
S [SKIPPED] [0.001 seconds]
[sig-a] three [BeforeEach] skips [sig-a]
`},
		"one at a time": {true, `------------------------------
[sig-a] one [Conformance] [sig-a, Conformance]
k8s.io/kubernetes/test/e2e/a.go:12
  STEP: Creating
• [1.234 seconds]
------------------------------
[sig-a] two fails [sig-a]
k8s.io/kubernetes/test/e2e/a.go:13
• [FAILED] [0.100 seconds]
[sig-a] two [It] fails [sig-a]
k8s.io/kubernetes/test/e2e/a.go:13
------------------------------
[sig-a] three skips [sig-a]
S [SKIPPED] [0.001 seconds]
[sig-a] three [BeforeEach] skips [sig-a]
`},
	} {
		file := t.TempDir() + "/deep/results.json"
		var said strings.Builder
		record := &recorder{results: newResults(), file: file, say: &said, alone: c.alone, specs: map[string]bool{
			"[sig-a] one [Conformance]": true, "[sig-a] two fails": true, "[sig-a] three skips": true, "[sig-a] four": true,
		}}
		for _, piece := range []string{c.output[:40], c.output[40:41], c.output[41:]} {
			_, err := record.Write([]byte(piece))
			require.NoError(t, err)
		}
		kept, err := loadResults(file)
		require.NoError(t, err)
		require.Equal(t, map[string]Result{
			"[sig-a] one [Conformance]": {Outcome: Passed}, "[sig-a] two fails": {Outcome: Failed}, "[sig-a] three skips": {Outcome: Skipped},
		}, kept.Specs, form)
		require.Equal(t, "2 of 4: failed: [sig-a] two fails\n", said.String())
		require.Equal(t, []string{"[sig-a] four"}, record.adopt([]string{"[sig-a] two fails", "[sig-a] four"}, map[string]Result{"[sig-a] two fails": {Outcome: Failed, Message: "no"}}))
		require.Equal(t, "no", record.results.Specs["[sig-a] two fails"].Message)
	}
}

func TestReportNamesEverySpec(t *testing.T) {
	t.Parallel()
	exceptions, err := parseExceptions([]byte("host: [{specs: 'h', reason: no such image}]\ntenant: [{specs: 't+', reason: nodes are shared}]"))
	require.NoError(t, err)
	report := Report{
		Target: Tenant, Environment: "Here.", All: []string{"p", "h", "t", "u", "s", "n", "tt"}, Exceptions: exceptions,
		Parts: []Part{{Name: "all", Words: "all of it", focus: regexp.MustCompile("."), Processes: 3}},
		Results: &Results{Took: map[string]float64{"all": 12.3}, Specs: map[string]Result{
			"p": {Outcome: Passed}, "h": {Outcome: Failed, Message: "x"}, "t": {Outcome: Failed, Message: "y"}, "u": {Outcome: Failed, Message: "z"}, "s": {Outcome: Skipped, Message: "wants IPv6"},
		}},
	}
	text, err := report.Markdown()
	require.NoError(t, err)
	require.Equal(t, `# Upstream's end-to-end suite on the tenant

Here.

| part | specs | passed | failed | not run | skipped by itself | took |
|---|---|---|---|---|---|---|
| all of it | 7 | 1 | 3 | 2 | 1 | 12 s, 3 at a time |

## all of it

### Failed

- h
  - on the host too: no such image
- t
  - of a tenant on shared nodes: nodes are shared
- u
  - **no reason known**: z

### Not run

- n
- tt
  - of a tenant on shared nodes: nodes are shared

### Skipped

- s
  - wants IPv6

### Passed

- p
`, text)
	unexplained, err := report.Unexplained()
	require.NoError(t, err)
	require.Equal(t, []string{"u"}, unexplained)
}

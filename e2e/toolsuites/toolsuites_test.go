package toolsuites

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/e2e/conformance"
)

func TestReasonsAreOfTests(t *testing.T) {
	t.Parallel()
	_, err := LoadReasons()
	require.NoError(t, err)
	for text, want := range map[string]string{
		"excluded: [{tests: a}]":                 "tests and reason are needed",
		"everywhere: [{tests: '(', reason: b}]":  `tests "("`,
		"hosts: [{tests: a, reason: b}]":         `unknown field "hosts"`,
		"tenant: [{tests: '', reason: nothing}]": "tests and reason are needed",
	} {
		_, err := parseReasons([]byte(text))
		require.ErrorContains(t, err, want)
	}
	some, err := parseReasons([]byte("excluded: [{tests: 'k: x', reason: never}]\neverywhere: [{tests: 'k: a.*', reason: admission}]\ntenant: [{tests: 'k: b', reason: ours}]\nhost: [{tests: 'k: c', reason: theirs}]"))
	require.NoError(t, err)
	require.Equal(t, "never", some.excluded("k", "x"))
	require.Empty(t, some.excluded("h", "x"))
	for _, c := range []struct{ target, test, reason string }{
		{conformance.Host, "ab", "admission"}, {conformance.Tenant, "ab", "admission"}, {conformance.Host, "b", ""}, {conformance.Tenant, "b", "ours"}, {conformance.Tenant, "bc", ""},
		{conformance.Tenant, "c", ""}, {conformance.Host, "c", "theirs"},
	} {
		require.Equal(t, c.reason, some.failure(c.target, "k", c.test), "%+v", c)
	}
}

func TestFunctionsOfTheScript(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"run_a_tests", "run_b"}, functionsOf("# record_command run_kubectl_tests\nKUBE=x record_command canary\n  record_command run_a_tests\n\tif true; then\n    record_command run_b\n    record_command \"run_${pkg}_tests\"\n"))
}

func TestResultsOfTheScript(t *testing.T) {
	t.Parallel()
	results, err := parseResults(strings.NewReader("RESULT passed 2 run_a\nRESULT failed 31 run_b\nRESULT failed 0 line-490\nRESULT passed 0 end\n"))
	require.NoError(t, err)
	require.Equal(t, Results{
		"run_a": {Outcome: conformance.Passed, Seconds: 2}, "run_b": {Outcome: conformance.Failed, Seconds: 31}, "line-490": {Outcome: conformance.Failed},
	}, results)
	_, err = parseResults(strings.NewReader("RESULT passed 2 run_a\n"))
	require.ErrorContains(t, err, "cut")
	_, err = parseResults(strings.NewReader("bash: no such file\nRESULT passed 0 end\n"))
	require.ErrorContains(t, err, `"bash: no such file" is none`)
}

func TestComplaintIsTheLastWordOfALog(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]string{
		"": "",
		"pod/a created\nError: no\n!!! [1] Call tree:\n!!! x\n":                            "Error: no",
		"a\n\x1b[1m\x1b[31mcore.sh:2: FAIL!\n  Expected: x\n  Got:\x1b(B\x1b[m y\n!!! [1]": "FAIL! Expected: x Got: y",
		"FAIL! message: a\nFAIL! not done after 300 seconds\n":                             "FAIL! not done after 300 seconds",
	} {
		require.Equal(t, want, complaint(log))
	}
}

func TestScriptsAreRedirected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.sh")
	require.NoError(t, os.WriteFile(file, []byte("-s \"https://127.0.0.1:${SECURE_API_PORT}\" --token=admin-token https://localhost:${SECURE_API_PORT}/x 127.0.0.1\n"), 0o600))
	require.NoError(t, redirect(dir, "https://10.0.0.1", "t"))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "-s \"https://10.0.0.1\" --token=t https://10.0.0.1/x 127.0.0.1\n", string(data))
}

func TestPackagesThatUse(t *testing.T) {
	t.Parallel()
	found, err := packagesThatUse(fstest.MapFS{
		"pkg/b/x_test.go": {Data: []byte("= &envtest.Environment{}")}, "pkg/a/x_test.go": {Data: []byte("envtest.Environment{A: 1}")},
		"pkg/c/x.go": {Data: []byte("envtest.Environment{}")}, "pkg/d/x_test.go": {Data: []byte("none")}, "other/x_test.go": {Data: []byte("envtest.Environment{}")},
	}, "envtest.Environment{")
	require.NoError(t, err)
	require.Equal(t, []string{"pkg/a", "pkg/b", "pkg/envtest"}, found)
}

func TestPlainTestsAreNoSpecs(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]conformance.Result{
		"TestA": {Outcome: conformance.Passed, Seconds: 1.5}, "TestB": {Outcome: conformance.Failed},
	}, plainTests("=== RUN   TestSource\nRunning Suite: Source\n--- FAIL: TestSource (2.00s)\n=== RUN   TestA\n    --- PASS: TestA/x (0.10s)\n--- PASS: TestA (1.50s)\n--- FAIL: TestB (0.00s)\n"))
}

func TestStepsAreJudged(t *testing.T) {
	t.Parallel()
	failed := errors.New("exit status 1")
	for want, given := range map[string]struct {
		step  step
		out   string
		ended error
	}{
		"":                                      {step{says: "deployed"}, "STATUS: deployed", nil},
		"exit status 1: no such chart":          {step{}, "no such\nchart", failed},
		"succeeded, and should not have":        {step{refused: true}, "", nil},
		`does not say "rolled back": timed out`: {step{refused: true, says: "rolled back"}, "timed out", failed},
	} {
		err := given.step.judge(given.out, given.ended)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, want)
	}
}

func TestReportNamesEveryTest(t *testing.T) {
	t.Parallel()
	reasons, err := parseReasons([]byte("excluded: [{tests: 'k: x', reason: no such node}]\neverywhere: [{tests: 'k: [eh]', reason: admission}]"))
	require.NoError(t, err)
	report := Report{
		Environment: "Here.", Reasons: reasons,
		Suites: []Suite{{Name: "k", What: "tests", Source: "m v1", Pointed: "KUBECONFIG"}},
		Results: map[string]map[string]Results{
			conformance.Tenant: {"k": {
				"e": {Outcome: conformance.Failed, Message: "1"}, "h": {Outcome: conformance.Passed}, "u": {Outcome: conformance.Failed, Message: "2"},
				"x": {Outcome: conformance.Skipped}, "s": {Outcome: conformance.Skipped, Message: "IPv6"},
			}},
			conformance.Host: {"k": {"e": {Outcome: conformance.Failed}, "h": {Outcome: conformance.Failed}, "u": {Outcome: conformance.Passed}}},
		},
	}
	require.Equal(t, `# Integration tests of tools, in a tenant

Here.

| suite | cluster | passed | failed | failed without a reason | skipped | left out |
|---|---|---|---|---|---|---|
| k | tenant | 1 | 2 | 1 | 1 | 1 |
| k | host | 1 | 2 | 0 | 0 | 0 |

## k

- What: tests.
- Source: m v1.
- Pointed to the cluster: KUBECONFIG.

### Failed

- e (failed on the host)
  - admission
- u (passed on the host)
  - **no reason known**: 2

### Left out

- x
  - no such node

### Skipped

- s
  - IPv6

### Failed on the host, and not in the tenant

- h
  - admission

### Passed

- h
`, report.Markdown())
	require.Equal(t, []string{"tenant: k: u: 2"}, report.Unexplained())
}

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/child"
)

// unreachable is a kubeconfig of a host that nobody serves.
func unreachable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host.kubeconfig")
	require.NoError(t, os.WriteFile(path, []byte(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: "", namespace: ci}}]
current-context: c
`), 0o600))
	return path
}

func TestRunAndConnectRefuseBadInput(t *testing.T) {
	t.Parallel()
	host := unreachable(t)
	full := t.TempDir()
	file := filepath.Join(full, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no name":                          {[]string{"run"}, "NAME: is missing: nestling run NAME [flags] -- CMD…"},
		"a command in the place of a name": {[]string{"connect", "--", "kubectl"}, "NAME: is missing: nestling connect NAME [-- CMD…]"},
		"a command without --":             {[]string{"connect", "a", "kubectl"}, `"kubectl": a command comes after --: nestling connect NAME [-- CMD…]`},
		"no command":                       {[]string{"run", "a", "--"}, "CMD: is missing: nestling run NAME [flags] -- CMD…"},
		"a name that is no label":          {[]string{"run", "A_b", "--", "true"}, `NAME: "A_b" is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)`},
		"a short life":                     {[]string{"run", "a", "--ttl", "10ms", "--", "true"}, "--ttl: 10ms is less than a second"},
		"no life at all":                   {[]string{"run", "a", "--ttl", "0", "--", "true"}, "--ttl: 0s is less than a second"},
		"a short idle life":                {[]string{"run", "a", "--idle-ttl", "-1s", "--", "true"}, "--idle-ttl: -1s is less than a second"},
		"no patience":                      {[]string{"run", "a", "--timeout", "0", "--", "true"}, "--timeout: 0s is not above 0"},
		"no patience to connect":           {[]string{"connect", "a", "--timeout", "-1s"}, "--timeout: -1s is not above 0"},
		"a contradiction":                  {[]string{"run", "a", "--keep", "--delete", "--", "true"}, "--keep and --delete contradict each other"},
		"a kubeconfig for a command":       {[]string{"connect", "a", "--print", "--", "true"}, "--print: a command gets its kubeconfig in a file"},
		"a context that is none":           {[]string{"run", "a", "--host-kubeconfig", host, "--host-context", "x", "--", "true"}, `--host-context: the kubeconfig has no context "x"`},
		"a namespace that is none":         {[]string{"connect", "a", "--host-kubeconfig", host, "-n", "x/y"}, `--namespace: "x/y" is not a DNS label`},
		"a directory of somebody's":        {[]string{"run", "a", "--collect", full, "--", "true"}, "--collect: " + full + ": the directory is not empty, and holds no earlier report: choose another"},
		"a report in two places":           {[]string{"collect", "a", "-o", "x", "--output-file", "y"}, "--output and --output-file: give one of them"},
		"a report over somebody's files":   {[]string{"collect", "a", "-o", full}, "--output: " + full + ": the directory is not empty, and holds no earlier report: choose another"},
		"a report over a file":             {[]string{"collect", "a", "--output-file", file}, "--output-file: " + file + " exists"},
		"a report where nothing is":        {[]string{"collect", "a", "--output-file", file + "/x"}, "--output-file: " + file + ": there is no such directory"},
		"a size that is none":              {[]string{"run", "a", "--storage-size", "big", "--host-kubeconfig", host, "--", "true"}, `--storage-size: "big" is not a quantity such as 5Gi`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, test.args...)
			require.Equal(t, exitBadInput, code)
			require.Empty(t, stdout)
			require.Equal(t, "nestling: "+test.want+"\n", stderr)
		})
	}
}

// A host that does not answer is one line, and the command does not run.
func TestAHostThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"run", "connect"} {
		marker := filepath.Join(t.TempDir(), "ran")
		code, stdout, stderr := run(t, verb, "a", "--host-kubeconfig", unreachable(t), "--", "touch", marker)
		require.Equal(t, exitFailure, code)
		require.Empty(t, stdout)
		require.Regexp(t, `^nestling: API server https://127.0.0.1:1 does not answer: .*connection refused\n$`, stderr)
		require.NoFileExists(t, marker)
	}
}

func TestACommandsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		result child.Result
		err    error
		code   int // 0: no error
	}{
		"with 0":       {child.Result{}, nil, 0},
		"with 3":       {child.Result{Code: 3}, nil, 3},
		"by a signal":  {child.Result{Code: 143, Asked: syscall.SIGTERM}, nil, 143},
		"before begun": {child.Result{}, &child.StartError{Program: "x", Code: child.NotFound, Cause: errors.New("gone")}, 127},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := ended(test.result, test.err)
			if test.code == 0 {
				require.NoError(t, err)
				return
			}
			var exit *exitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, test.code, exit.code)
		})
	}
}

// The command has our environment but for the kubeconfig, which is the tenant's alone.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"A=1", "KUBECONFIG_X=2", "KUBECONFIG=/new"}, environment([]string{"A=1", "KUBECONFIG=/old", "KUBECONFIG_X=2", "KUBECONFIG=/older"}, "/new"))
}

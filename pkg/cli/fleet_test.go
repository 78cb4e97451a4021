package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/fleet"
)

// fleetCommands are those that reach out to a host.
func fleetCommands() []string {
	return []string{"create", "delete", "describe", "kubeconfig", "pause", "resume", "list"}
}

func TestBadInputOfFleetCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	host := write("host", hostKubeconfig)
	tenants := write("tenants", strings.NewReplacer("host", "team-a", "somebody", "nestling:admin").Replace(hostKubeconfig))
	notes := write("notes", "buy milk\n")
	t.Setenv("KUBECONFIG", filepath.Join(dir, "missing"))
	t.Setenv("HOME", dir)
	for name, test := range map[string]struct {
		args []string // after the command and NAME
		only string   // the command; empty: all
		want string
	}{
		"an unknown flag":               {args: []string{"a", "--nope"}, want: "unknown flag: --nope"},
		"a name that is no label":       {args: []string{"A_b"}, want: `NAME: "A_b" is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)`},
		"no host":                       {args: []string{"a"}, want: "no kubeconfig of a host: give --host-kubeconfig, set KUBECONFIG, or run in a pod of the host"},
		"a host file that is not there": {args: []string{"a", "--host-kubeconfig", "/nowhere"}, want: "host kubeconfig: stat /nowhere: no such file or directory"},
		"a context that is not there":   {args: []string{"a", "--host-kubeconfig", host, "--host-context", "b"}, want: `--host-context: the kubeconfig has no context "b"`},
		"a tenant's in place of a host's": {args: []string{"a", "--host-kubeconfig", tenants},
			want: `the kubeconfig in use is that of tenant "team-a", not of a host: give --host-kubeconfig, or unset KUBECONFIG`},
		"a namespace that is none": {args: []string{"a", "--host-kubeconfig", host, "-n", "x/y"}, want: `--namespace: "x/y" is not a DNS label`},
		"a time to live that is none": {args: []string{"a", "--ttl", "soon"}, only: "create",
			want: `invalid argument "soon" for "--ttl" flag: time: invalid duration "soon"`},
		"a time to live that is over":     {args: []string{"a", "--ttl", "-5m"}, only: "create", want: "--ttl: -5m0s is less than a second"},
		"an idle time that is none":       {args: []string{"a", "--idle-ttl", "1ms"}, only: "create", want: "--idle-ttl: 1ms is less than a second"},
		"no patience":                     {args: []string{"a", "--timeout", "0s"}, only: "create", want: "--timeout: 0s is not above 0"},
		"a kubeconfig file of other use":  {args: []string{"a", "--host-kubeconfig", host, "--kubeconfig", notes}, only: "create", want: "--kubeconfig: " + notes + ": the file exists and is not a kubeconfig: move it away, or choose another by --kubeconfig"},
		"a kubeconfig file of another's":  {args: []string{"a", "--host-kubeconfig", host, "--kubeconfig", host}, only: "create", want: "--kubeconfig: " + host + `: the file exists and is not a kubeconfig of tenant "a" in namespace "default": move it away, or choose another by --kubeconfig`},
		"a kubeconfig file in no place":   {args: []string{"a", "--host-kubeconfig", host, "--kubeconfig", "/nowhere/a"}, only: "create", want: "--kubeconfig: /nowhere/a: there is no such directory"},
		"two that want standard output":   {args: []string{"a", "-o", "json", "--kubeconfig", "-"}, only: "create", want: "--output json and --kubeconfig - both want standard output"},
		"an output that create has not":   {args: []string{"a", "-o", "wide"}, only: "create", want: `--output: "wide" is not json`},
		"an output that list has not":     {args: []string{"-o", "xml"}, only: "list", want: `--output: "xml" is not wide, json, yaml or name`},
		"an output that describe has not": {args: []string{"a", "-o", "wide"}, only: "describe", want: `--output: "wide" is not json or yaml`},
		"a server without TLS":            {args: []string{"a", "--server", "http://a"}, only: "kubeconfig", want: `--server: "http://a" is not an https:// URL`},
		"an image that is none":           {args: []string{"a", "--host-kubeconfig", host, "--image", "a b"}, only: "create", want: `--image: "a b" is not the name of an image`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range fleetCommands() {
				if test.only != "" && command != test.only {
					continue
				}
				code, stdout, stderr := run(t, append([]string{command}, test.args...)...)
				require.Equal(t, exitBadInput, code, command)
				require.Empty(t, stdout, command)
				require.Equal(t, "nestling: "+test.want+"\n", stderr, command)
			}
		})
	}
}

func TestAnUnreachableHostIsOneLineAndCode1(t *testing.T) {
	t.Parallel()
	host := filepath.Join(t.TempDir(), "host")
	require.NoError(t, os.WriteFile(host, []byte(hostKubeconfig), 0o600))
	for _, command := range fleetCommands() {
		code, stdout, stderr := run(t, command, "a", "--host-kubeconfig", host)
		require.Equal(t, exitFailure, code, command)
		require.Empty(t, stdout, command)
		require.Equal(t, "nestling: API server https://127.0.0.1:1 does not answer: dial tcp 127.0.0.1:1: connect: connection refused\n", stderr, command)
	}
}

// hostKubeconfig is that of a host that is not there.
const hostKubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: host, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: somebody}]
contexts: [{name: host, context: {cluster: host, user: somebody}}]
current-context: host
`

func TestNext(t *testing.T) {
	t.Parallel()
	inside := &fleet.Created{Name: "a", Namespace: "n", Server: "https://a.n.svc:443"}
	exposed := &fleet.Created{Name: "a", Namespace: "n", Server: "https://a.example.org"}
	require.Equal(t, "nestling connect a -n n", next("nestling", inside, " -n n", "/tmp/a", false))
	require.Equal(t, "kubectl nestling connect a -n n", next("kubectl nestling", inside, " -n n", "/tmp/a", false))
	require.Equal(t, "export KUBECONFIG=/tmp/a", next("nestling", inside, " -n n", "/tmp/a", true))
	require.Equal(t, "export KUBECONFIG='/tmp/my a'", next("nestling", exposed, " -n n", "/tmp/my a", false))
	require.Equal(t, "nestling describe a -n n", next("nestling", exposed, " -n n", "", false), "it was not waited for")
}

func TestKubectlPlugin(t *testing.T) {
	t.Parallel()
	require.Equal(t, "kubectl nestling", ProgramName("/usr/bin/kubectl-nestling"))
	require.Equal(t, "nestling", ProgramName("bin/nestling"))
	var out, err bytes.Buffer
	require.Zero(t, MainAs(t.Context(), pluginName, []string{"create", "--help"}, &out, &err))
	require.Contains(t, out.String(), "kubectl nestling create NAME [flags]")
	require.Contains(t, out.String(), "\n  kubectl nestling create pr-1 -n ci")
	require.NotRegexp(t, `(^|[^l]) nestling create`, out.String())
	require.Equal(t, exitBadInput, MainAs(t.Context(), pluginName, []string{"delete", "A_b"}, &out, &err))
	require.Contains(t, err.String(), "kubectl nestling: NAME: ")
}

func TestTenantsInATable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	require.NoError(t, table(&out, []fleet.Tenant{
		{Name: "pr-1", Namespace: "ci", State: fleet.Ready, Image: "example.org:5000/nestling:v1", Ephemeral: true, CreatedAt: now.Add(-5 * time.Minute), ExpiresAt: now.Add(40 * time.Minute)},
		{Name: "pr-22", Namespace: "ci", State: fleet.Paused, Image: "nestling", CreatedAt: now.Add(-50 * time.Hour), ExpiresAt: now.Add(-time.Hour)},
	}, true, false, now))
	require.Equal(t, `NAMESPACE   NAME    STATE    VERSION   EXPIRES   AGE
ci          pr-1    Ready    v1        in 40m    5m
ci          pr-22   Paused   latest    over      2d2h
`, out.String())
}

package command

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/loopback"
)

func TestBadInputIsOneLineAndCode2(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	somebodys := filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(somebodys, []byte("apiVersion: v1\nkind: Config\n"), 0o600))
	missing := filepath.Join(dir, "missing", "file")

	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":   {[]string{"down"}, `unknown command "down" for "nestling-sandbox"`},
		"an unknown flag":      {[]string{"up", "--node=1"}, `unknown flag: --node`},
		"an argument":          {[]string{"up", "me"}, `unknown command "me" for "nestling-sandbox up"`},
		"a name that is none":  {[]string{"up", "--tenant=A_b"}, `--tenant: "A_b" is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)`},
		"no nodes":             {[]string{"up", "--nodes=0"}, `--nodes: 0 is not between 1 and 1000`},
		"many nodes":           {[]string{"up", "--nodes=1001"}, `--nodes: 1001 is not between 1 and 1000`},
		"nodes of text":        {[]string{"up", "--nodes=many"}, `invalid argument "many" for "--nodes" flag: strconv.ParseInt: parsing "many": invalid syntax`},
		"no file":              {[]string{"up", "--kubeconfig="}, `--kubeconfig: "" is not a path`},
		"a missing directory":  {[]string{"up", "--kubeconfig=" + missing}, `--kubeconfig: write to ` + filepath.Dir(missing) + `: no such file or directory`},
		"a directory":          {[]string{"up", "--kubeconfig=" + dir}, `--kubeconfig: read ` + dir + `: is a directory`},
		"somebody's file":      {[]string{"up", "--kubeconfig=" + filepath.Join(dir, "k"), "--host-kubeconfig=" + somebodys}, `--host-kubeconfig: ` + somebodys + ` exists and is not a sandbox's: choose another file`},
		"one file for two":     {[]string{"up", "--kubeconfig=" + dir + "/k", "--host-kubeconfig=" + dir + "/k"}, `--host-kubeconfig: ` + dir + `/k is the tenant's already`},
		"a file for a log dir": {[]string{"up", "--kubeconfig=" + dir + "/k", "--log-dir=" + somebodys}, `--log-dir: mkdir ` + somebodys + `: not a directory`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := Main(t.Context(), test.args, &stdout, &stderr)
			require.Equal(t, "nestling-sandbox: "+test.want+"\n", stderr.String())
			require.Equal(t, exitBadInput, code)
			require.Empty(t, stdout.String())
		})
	}
}

func TestKubeconfigOfARunningSandboxIsLeftAlone(t *testing.T) {
	t.Parallel()
	port, err := loopback.FreePort() // nobody else shall have it when the server has gone
	require.NoError(t, err)
	server, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := strings.ReplaceAll(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: c}}]
clusters: [{name: c, cluster: {server: "https://ADDRESS"}}]
users: [{name: c, user: {}}]
`, "ADDRESS", server.Addr().String())
	require.NoError(t, writeKubeconfig(path, []byte(text)))

	require.ErrorContains(t, checkKubeconfig(path), "is that of a sandbox that runs")
	s := settings{kubeconfig: path}
	s.removeKubeconfigs()
	require.FileExists(t, path)

	require.NoError(t, server.Close())
	require.NoError(t, checkKubeconfig(path), "it may be replaced now")
	s.removeKubeconfigs()
	require.NoFileExists(t, path)
}

func TestSettingsSurviveTheWayToTheWorker(t *testing.T) {
	t.Parallel()
	want := settings{tenant: "a", nodes: 7, kubeconfig: "/k", hostKubeconfig: "", logDir: "/l"}
	var got settings
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	got.addFlags(flags)
	require.NoError(t, flags.Parse(want.args()))
	require.Equal(t, want, got)
}

func TestSweepTakesOnlyWhatIsDead(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	living, lock, err := newDir()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lock.Close()) })
	dead, deadLock, err := newDir()
	require.NoError(t, err)
	require.NoError(t, deadLock.Close())
	other, err := os.MkdirTemp("", dirPrefix) // without a lock: not a command's
	require.NoError(t, err)

	sweep()
	require.DirExists(t, living)
	require.NoDirExists(t, dead)
	require.DirExists(t, other)
}

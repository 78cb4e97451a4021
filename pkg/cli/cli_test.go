package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/version"
)

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestBadInputIsOneLineAndCode2(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":        {[]string{"manifest", "a"}, `nestling: unknown command "manifest" for "nestling" Did you mean this? manifests`},
		"an unknown flag":           {[]string{"manifests", "a", "--nope"}, `nestling: unknown flag: --nope`},
		"no name":                   {[]string{"manifests"}, `nestling: accepts 1 arg(s), received 0`},
		"a name that is no label":   {[]string{"manifests", "A_b"}, `nestling: NAME: "A_b" is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)`},
		"a namespace that is none":  {[]string{"manifests", "a", "-n", "x/y"}, `nestling: --namespace: "x/y" is not a DNS label`},
		"a size that is none":       {[]string{"manifests", "a", "--storage-size", "big"}, `nestling: --storage-size: "big" is not a quantity such as 5Gi`},
		"values that are not there": {[]string{"manifests", "a", "-f", "/nowhere"}, `nestling: --values: open /nowhere: no such file or directory`},
		"an unknown output":         {[]string{"version", "-o", "xml"}, `nestling: --output: "xml" is not json or yaml`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, test.args...)
			require.Equal(t, exitBadInput, code)
			require.Empty(t, stdout)
			require.Equal(t, test.want+"\n", stderr)
		})
	}
}

// The command prints what is in manifests/ of the repository.
func TestManifestsAreTheRenderedOnes(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../../manifests/base/nestling.yaml")
	require.NoError(t, err)
	code, stdout, stderr := run(t, "manifests", "team-a", "-n", "tenants")
	require.Zero(t, code, stderr)
	require.Empty(t, cmp.Diff(string(want), stdout))
}

func TestManifestsFlags(t *testing.T) {
	t.Parallel()
	_, stdout, _ := run(t, "manifests", "a", "--ephemeral", "--namespaced", "--image", "example.org/n:1")
	require.Contains(t, stdout, "emptyDir: {}")
	require.Contains(t, stdout, "image: example.org/n:1")
	require.Contains(t, stdout, "namespace: default")
	require.NotContains(t, stdout, "ClusterRole")
	require.NotContains(t, stdout, "PersistentVolumeClaim")

	_, stdout, _ = run(t, "manifests", "a", "--fs-group=-1", "--storage-class", "fast", "--storage-size=9Gi", "--keep-volume")
	require.NotContains(t, stdout, "fsGroup")
	require.Contains(t, stdout, "storageClassName: fast")
	require.Contains(t, stdout, "storage: 9Gi")
	require.Contains(t, stdout, "whenDeleted: Retain")
}

// A tenant's settings are a file of the kind that serve reads; it is checked where it is written down.
func TestManifestsWithConfig(t *testing.T) {
	t.Parallel()
	write := func(settings string) string {
		file := filepath.Join(t.TempDir(), "config.yaml")
		require.NoError(t, os.WriteFile(file, []byte("apiVersion: nestling.dev/v1alpha1\nkind: Config\n"+settings), 0o600))
		return file
	}
	code, stdout, stderr := run(t, "manifests", "a", "--config", write("sync: {serviceAccountTokens: {rotateAt: 0.5}}\n"))
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "        rotateAt: 0.5\n")
	require.NotContains(t, stdout, "preflight", "what the file leaves out is left to the version that runs")

	for settings, want := range map[string]string{
		"sync: {serviceAccountToken: {}}": `unknown field`,
		"tenant: b":                       `is for tenant "b", not for "a"`,
		// What the process would refuse at its start.
		"pods: {deny: [{name: a, expression: pod.spec.hostNetwork}]}": `pods.deny[0].expression: fails for a plain pod, and would refuse every one: no such key: hostNetwork`,
		"initialObjects: [{apiVersion: v1, kind: Namespace}]":         `initialObjects[0].metadata.name: is required`,
	} {
		code, stdout, stderr := run(t, "manifests", "a", "--config", write(settings))
		require.Equal(t, exitBadInput, code)
		require.Empty(t, stdout)
		require.Contains(t, stderr, want)
	}
}

// Flags go over --config, which goes over files of values.
func TestManifestsWithValues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		return file
	}
	first := write("first.yaml", "image: example.org/n:1\nstorage: {size: 7Gi}\nconfig: {dns: {hostCluster: true}, nodes: {mirror: used}}\n")
	second := write("second.yaml", "storage: {className: fast}\n")
	settings := write("config.yaml", "apiVersion: nestling.dev/v1alpha1\nkind: Config\nnodes: {mirror: all}\n")
	code, stdout, stderr := run(t, "manifests", "a", "-f", first, "--values", second, "--config", settings, "--image=example.org/n:2")
	require.Zero(t, code, stderr)
	for _, want := range []string{"image: example.org/n:2", "storage: 7Gi", "storageClassName: fast", "hostCluster: true", "mirror: all"} {
		require.Contains(t, stdout, want)
	}

	flags := addDeployFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	require.NoError(t, flags.set.Parse([]string{"-f", "-", "--ephemeral=false"}))
	flags.stdin = strings.NewReader("ephemeral: true\nnamespaced: true\n")
	options, err := flags.options("a")
	require.NoError(t, err)
	require.False(t, options.Ephemeral)
	require.True(t, options.Namespaced)

	for content, want := range map[string]string{
		"images: a\n":            "nestling: values: images: unknown field\n",
		"storage: {size: big}\n": "nestling: values: storage.size: \"big\" is not a quantity such as 5Gi\n",
	} {
		code, stdout, stderr := run(t, "manifests", "a", "-f", write("bad.yaml", content))
		require.Equal(t, exitBadInput, code)
		require.Empty(t, stdout)
		require.Equal(t, want, stderr)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, _ := run(t, "version")
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(stdout, "nestling v"), stdout)
	require.Equal(t, 1, strings.Count(stdout, "\n"))
	_, short, _ := run(t, "--version")
	require.Equal(t, stdout, short)

	_, stdout, _ = run(t, "version", "-o", "json")
	var info version.Info
	require.NoError(t, json.Unmarshal([]byte(stdout), &info))
	require.Equal(t, version.Get(), info)
}

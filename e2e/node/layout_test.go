package node

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		options Options
		want    string
	}{
		"no directory":                     {Options{}, "a directory is needed"},
		"a directory that nodes replace":   {Options{Dir: "/var/lib/host"}, "must not be under /var/lib"},
		"a directory that breaks a script": {Options{Dir: "/tmp/a b"}, "blanks"},
		"a name too long for an interface": {Options{Dir: "/tmp/x", Name: "abcdefghijk"}, "at most 10"},
		"a name that is no DNS label":      {Options{Dir: "/tmp/x", Name: "A"}, "small letters"},
		"too many nodes":                   {Options{Dir: "/tmp/x", Nodes: 17}, "want 1 to 16"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.options.complete()
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := Options{Dir: "/tmp/x/../y"}.complete()
	require.NoError(t, err)
	if diff := cmp.Diff(Options{Dir: "/tmp/y", Name: "nest", Nodes: 1}, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestSlotsDoNotOverlap(t *testing.T) {
	t.Parallel()
	_, products, err := net.ParseCIDR("10.96.0.0/12")
	require.NoError(t, err)
	for one := range maxSlot + 1 {
		for two := range maxSlot + 1 {
			a, b := layout{Slot: one}, layout{Slot: two}
			for _, address := range []string{b.address(0), b.rootAddress(), b.gateway(), b.kubernetesIP(), strings.TrimSuffix(b.podCIDR(3), "/24")} {
				require.Equal(t, one == two, a.owns(net.ParseIP(address)), "slot %d and %s of slot %d", one, address, two)
			}
		}
		require.True(t, products.Contains(net.ParseIP(layout{Slot: one}.clusterDNS())), "a tenant assumes the /12 around its host's ClusterIPs")
	}
}

func TestInterfaceNameFits(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, len(layout{Name: "abcdefghij"}.linkName()), 15, "IFNAMSIZ")
}

func TestEveryProgramIsFoundByItsName(t *testing.T) {
	t.Parallel()
	host := Host{layout: layout{Dir: "/tmp/x", Name: "n", Nodes: 2}}
	names := host.Programs()
	require.Len(t, slices.Compact(sorted(names)), 4+2*3, "names are unique")
	for _, name := range names {
		_, err := host.layout.find(name)
		require.NoError(t, err)
	}
	_, err := host.layout.find("kubelet-n-2")
	require.ErrorContains(t, err, `no program "kubelet-n-2"`)
}

func TestNodeConfigurationNamesTheNode(t *testing.T) {
	t.Parallel()
	l := layout{Dir: t.TempDir(), Name: "n", Nodes: 2, Slot: 3}
	require.NoError(t, l.makeNodeDirs(1))
	require.NoError(t, l.writeNodeConfig(1))
	for file, want := range map[string]string{
		"cni/10-pods.conflist": `"subnet": "10.247.1.0/24"`,
		"kubelet.yaml":         "cgroupRoot: /" + l.cgroup() + "/n-1",
		"proxy.yaml":           "hostnameOverride: n-1",
		"containerd.toml":      l.nodePath(1, "cni"),
	} {
		data, err := os.ReadFile(l.nodePath(1, file))
		require.NoError(t, err)
		require.Contains(t, string(data), want)
	}
}

func TestHierarchiesAreReadFromMountinfo(t *testing.T) {
	t.Parallel()
	v1 := "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
		"37 31 0:34 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" +
		"38 31 0:36 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	cases := map[string]struct {
		mountinfo string
		want      hierarchies
		wantErr   string
	}{
		"version 2": {
			mountinfo: "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
			want:      hierarchies{v2: true, points: map[string]string{"": "/sys/fs/cgroup"}},
		},
		"version 1 beside an empty version 2": {
			mountinfo: v1 + "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
			want: hierarchies{points: map[string]string{
				"memory": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
				"cpuset": "/sys/fs/cgroup/cpuset", "pids": "/sys/fs/cgroup/pids", "unified": "/sys/fs/cgroup/unified",
			}},
		},
		"version 1 without pids": {mountinfo: v1, wantErr: "pids controller"},
		"nothing":                {wantErr: "neither"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "mountinfo")
			require.NoError(t, os.WriteFile(file, []byte(c.mountinfo), 0o600))
			got, err := findHierarchies(file)
			if c.wantErr != "" {
				require.ErrorContains(t, err, c.wantErr)
				return
			}
			require.NoError(t, err)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(hierarchies{})); diff != "" {
				t.Errorf("hierarchies (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPackagesScriptAgreesWithRequirements(t *testing.T) {
	t.Parallel()
	output, err := exec.CommandContext(t.Context(), "../../scripts/e2e-packages").Output()
	require.NoError(t, err)
	var want []string
	for _, debian := range tools() {
		want = append(want, debian)
	}
	if diff := cmp.Diff(slices.Compact(sorted(want)), strings.Fields(string(output))); diff != "" {
		t.Errorf("packages (-requirements +script):\n%s", diff)
	}
}

func TestLastWordsAreTheReason(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ log, want string }{
		"a panic with its stack":  {"I1121 starting\npanic: no\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: no"},
		"an error before chatter": {"E1121 01:02:03.4 cannot listen\nI1121 stopping\n", "E1121 01:02:03.4 cannot listen"},
		"nothing that looks bad":  {"one\ntwo\n", "two"},
		"a log that nobody wrote": {"", ""},
		"a very long last line":   {strings.Repeat("x", 5000), strings.Repeat("x", 400)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "log")
			require.NoError(t, os.WriteFile(file, []byte(c.log), 0o600))
			require.Equal(t, c.want, lastWords(file))
		})
	}
}

func TestOpenSaysWhenNothingRuns(t *testing.T) {
	t.Parallel()
	_, err := Open(t.TempDir())
	require.ErrorContains(t, err, "no host runs from")
}

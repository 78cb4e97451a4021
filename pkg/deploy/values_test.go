package deploy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/config"
)

func options(t *testing.T, files ...string) (Options, error) {
	t.Helper()
	var read []ValuesFile
	for _, file := range files {
		read = append(read, ValuesFile{Name: "values.yaml", Data: []byte(file)})
	}
	values, err := ReadValues(read...)
	if err != nil {
		return Options{}, err
	}
	return values.Options("team-a", "tenants")
}

func TestNoValuesAreTheDefaults(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]string{"no file": nil, "an empty file": {""}, "comments only": {"# nothing\n"}, "an empty section": {"config: {}\n"}} {
		got, err := options(t, files...)
		require.NoError(t, err, name)
		want, err := YAML(example())
		require.NoError(t, err)
		is, err := YAML(got)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(string(want), string(is)), name)
	}
}

// As Helm merges them.
func TestValuesAreMerged(t *testing.T) {
	t.Parallel()
	got, err := options(t,
		"resources: {requests: {memory: 512Mi}}\nfsGroup: -1\nstorage: {size: 9Gi}\nconfig: {dns: {upstream: [192.0.2.1], hostCluster: true}}\n",
		"resources: {requests: {cpu: 2}, limits: {memory: null}}\nconfig: {dns: {upstream: [192.0.2.2]}, nodes: {mirror: used}}\n")
	require.NoError(t, err)
	require.Nil(t, got.FSGroup)
	require.Equal(t, "9Gi", got.StorageSize.String())
	require.Equal(t, "512Mi", got.Resources.Requests.Memory().String())
	require.Equal(t, "2", got.Resources.Requests.Cpu().String())
	require.Empty(t, got.Resources.Limits)
	require.Equal(t, config.DNS{Upstream: []string{"192.0.2.2"}, HostCluster: true}, got.Config.DNS)
	require.Equal(t, config.MirrorUsed, got.Config.Nodes.Mirror)
}

func TestBadValuesNameTheField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"an unknown field":               {"storage: {sise: 5Gi}\n", `values: storage.sise: unknown field`},
		"an unknown setting":             {"config: {sync: {podz: all}}\n", `values: config.sync.podz: unknown field`},
		"a field in another case":        {"Image: a\n", `values: Image: unknown field`},
		"a field twice":                  {"image: a\nimage: b\n", `values: values.yaml: unmarshal errors:   line 2: key "image" already set in map`},
		"a string for true or false":     {"ephemeral: sometimes\n", `values: ephemeral: want true or false, found string`},
		"a string for a number, inside":  {"config: {sync: {workers: many}}\n", `values: config.sync.workers: want an integer, found string`},
		"a list for a mapping":           {"resources: [memory]\n", `values: resources: want a mapping, found array`},
		"a list of values":               {"- image\n", `values: values.yaml: want a mapping, found array`},
		"a size that is none":            {"storage: {size: big}\n", `values: storage.size: "big" is not a quantity such as 5Gi`},
		"a mapping for a size":           {"storage: {size: {}}\n", `values: storage.size: "{}" is not a quantity such as 5Gi`},
		"a request below nothing":        {"resources: {requests: {cpu: -1}}\n", `values: resources.requests.cpu: -1 is below 0`},
		"settings of another tenant":     {"config: {tenant: team-b}\n", `values: config.tenant: is "team-b", not "team-a"`},
		"a default taken away":           {"storage: {size: null}\nlimitRange: null\n", `values: storage.size: is required; limitRange: is required`},
		"several problems, in one line":  {"a: 1\nconfig: {b: 2}\n", `values: a: unknown field; config.b: unknown field`},
		"more than one document":         {"image: a\n---\nimage: b\n", `values: values.yaml: holds more than one YAML document`},
		"two quantities, in their order": {"resources: {limits: {b: x, a: z}}\n", `values: resources.limits.a: "z" is not a quantity such as 5Gi; resources.limits.b: "x" is not a quantity such as 5Gi`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := options(t, test.file)
			var bad *config.Error
			require.ErrorAs(t, err, &bad)
			require.EqualError(t, err, test.want)
		})
	}
}

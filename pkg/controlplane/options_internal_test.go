package controlplane

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func TestPluginsComeAfterTheWebhooks(t *testing.T) {
	t.Parallel()
	factory := func(io.Reader) (admission.Interface, error) { return nil, nil }
	run := options.NewServerRunOptions()
	before := slices.Clone(run.Admission.GenericAdmission.RecommendedPluginOrder)

	APIServerOptions{MutatingLast: []AdmissionPlugin{{"First", factory}, {"Second", factory}}}.register(run.Admission.GenericAdmission)
	order := run.Admission.GenericAdmission.RecommendedPluginOrder
	at := slices.Index(order, mutatingwebhook.PluginName)
	require.Equal(t, []string{"First", "Second"}, order[at+1:at+3])
	require.Empty(t, run.Admission.Validate())

	APIServerOptions{ValidatingLast: []AdmissionPlugin{{"Third", factory}, {"Fourth", factory}}}.register(run.Admission.GenericAdmission)
	order = run.Admission.GenericAdmission.RecommendedPluginOrder
	at = slices.Index(order, resourcequota.PluginName)
	require.Equal(t, []string{"Third", "Fourth"}, order[at-2:at], "the quota counts what it lets pass, so it comes after all others")
	require.Less(t, slices.Index(order, validatingwebhook.PluginName), at-2)

	require.Equal(t, before, options.NewServerRunOptions().Admission.GenericAdmission.RecommendedPluginOrder, "other servers have theirs")
}

// TestEveryControllerOfTheHostExists fails when upstream renames one, which
// would silently run here then.
func TestEveryControllerOfTheHostExists(t *testing.T) {
	t.Parallel()
	known := app.KnownControllers()
	for _, name := range hostControllers() {
		require.Contains(t, known, name)
	}
}

func TestFlagsThatUpstreamDoesNotHave(t *testing.T) {
	t.Parallel()
	flagSets := options.NewServerRunOptions().Flags()
	require.NoError(t, setFlags(&flagSets, map[string]string{"event-ttl": "2h"}))
	require.EqualError(t, setFlags(&flagSets, map[string]string{"event-tll": "2h"}), "flag --event-tll: there is no such flag")
	require.ErrorContains(t, setFlags(&flagSets, map[string]string{"event-ttl": "soon"}), "flag --event-ttl: ")
}

func TestFilesReplaceOlderOnesWhateverTheirMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(flagFile(dir, "key"), []byte("old"), 0o644))
	paths, err := writeFiles(dir, map[string][]byte{"key": []byte("new")})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"key": filepath.Join(dir, "key.pem")}, paths)
	content, err := os.ReadFile(paths["key"])
	require.NoError(t, err)
	require.Equal(t, "new", string(content))
	info, err := os.Stat(paths["key"])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestGlobalsAreSetOnce(t *testing.T) {
	require.NoError(t, SetGlobals(Globals{Quiet: true}))
	require.NoError(t, SetGlobals(Globals{Verbosity: 2}), "the log stays as it is")
	require.ErrorContains(t, SetGlobals(Globals{FeatureGates: map[string]bool{"AllAlpha": true}}), "cannot become map[AllAlpha:true]")
}

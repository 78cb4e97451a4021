package deploy

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/syncer/resources"
)

var update = flag.Bool("update", false, "write the golden files")

// example is the tenant of the rendered manifests.
func example() Options {
	o := Default()
	o.Tenant, o.Namespace = "team-a", "tenants"
	return o
}

// root is manifests/ of the repository.
const root = "../../manifests"

func TestManifestsAreRendered(t *testing.T) {
	want, err := Tree(example())
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.RemoveAll(filepath.Join(root, "base")))
		require.NoError(t, os.RemoveAll(filepath.Join(root, "overlays")))
		for path, content := range want {
			path = filepath.Join(root, path)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, content, 0o644))
		}
	}
	have := onDisk(t)
	for _, path := range written() {
		require.Contains(t, have, path)
		delete(have, path)
	}
	require.Empty(t, cmp.Diff(text(want), have), "manifests/ is not what pkg/deploy renders: run `make update-generated`")
}

// written are the files in manifests/ that are not rendered; e2e/monitoring checks them.
func written() []string { return []string{"monitoring/alerts.yaml", "monitoring/dashboard.json"} }

// A change of the rights of the process is never an accident.
func TestRBAC(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	for _, object := range []Object{role(example()), clusterRole(example())} {
		document, err := document(object)
		require.NoError(t, err)
		got.WriteString("---\n")
		got.Write(document)
	}
	golden := filepath.Join("testdata", "rbac.yaml")
	if *update {
		require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), got.String()), "run `make update-generated` if the process needs these rights")
}

func TestNoWildcardsAndNoWritesOutsideTheNamespace(t *testing.T) {
	t.Parallel()
	sync := resources.Options{ServiceAccounts: true}
	for _, rule := range append(Rules("tenants", sync), ClusterRules(sync)...) {
		require.NotContains(t, append(append(rule.Verbs, rule.Resources...), rule.APIGroups...), "*")
	}
	for _, rule := range ClusterRules(sync) {
		require.Subset(t, []string{"get", "list", "watch"}, rule.Verbs)
	}
}

// Overlays are patches; kubectl must make of them what Options make.
func TestOverlaysBuildToTheSameObjects(t *testing.T) {
	t.Parallel()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("no kubectl here")
	}
	for path, change := range map[string]func(*Options){
		"base":                func(*Options) {},
		"overlays/ephemeral":  func(o *Options) { o.Ephemeral = true },
		"overlays/namespaced": func(o *Options) { o.Namespaced = true },
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			o := example()
			change(&o)
			want, err := YAML(o)
			require.NoError(t, err)
			got, err := exec.CommandContext(t.Context(), kubectl, "kustomize", filepath.Join(root, path)).CombinedOutput()
			require.NoError(t, err, string(got))
			require.Empty(t, cmp.Diff(parse(t, want), parse(t, got)))
		})
	}
}

func TestPodSecurityRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	for name, ephemeral := range map[string]bool{"with a volume": false, "ephemeral": true} {
		o := example()
		o.Ephemeral = ephemeral
		pod := set(t, o).Spec.Template
		level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
		require.True(t, result.Allowed, "%s: %s", name, result.ForbiddenDetail())
	}
}

// The file in the ConfigMap must be one that the process takes, and must not freeze the defaults of today.
func TestConfigurationIsSparse(t *testing.T) {
	t.Parallel()
	o := example()
	o.Ephemeral = true
	file, err := yaml.Marshal(o.file())
	require.NoError(t, err)
	require.Equal(t, "apiVersion: nestling.dev/v1alpha1\netcd:\n  unsafeNoFsync: true\nkind: Config\ntenant: team-a\n", string(file))
}

func TestChangedConfigurationChangesThePod(t *testing.T) {
	t.Parallel()
	before, after := example(), example()
	after.Config.Nodes.Mirror = config.MirrorUsed
	require.NotEqual(t, set(t, before).Spec.Template.Annotations, set(t, after).Spec.Template.Annotations)
}

// Two tenants in one host namespace share no object, and neither Service selects the other's pod.
func TestTenantsDoNotMeet(t *testing.T) {
	t.Parallel()
	a, b := example(), example()
	b.Tenant = "team-b"
	seen := map[string]bool{}
	for _, o := range []Options{a, b} {
		objects, err := Objects(o)
		require.NoError(t, err)
		for _, object := range objects {
			key := object.GetObjectKind().GroupVersionKind().Kind + "/" + object.GetName()
			require.False(t, seen[key], key)
			seen[key] = true
			if service, ok := object.(*corev1.Service); ok {
				require.Equal(t, map[string]string{ControlPlaneLabel: o.Tenant}, service.Spec.Selector)
			}
		}
	}
}

func TestBadOptionsNameTheFlag(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Options){
		`NAME: "A_b" is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)`: func(o *Options) { o.Tenant = "A_b" },
		`--namespace: "a b" is not a DNS label`:             func(o *Options) { o.Namespace = "a b" },
		`--image: "" is not the name of an image`:           func(o *Options) { o.Image = "" },
		`config: sync.workers: -1 is not between 1 and 256`: func(o *Options) { o.Config.Sync.Workers = -1 },
		`values: podDisruptionBudget.maxUnavailable: 2 is neither 0 nor 1: the control plane is one pod`: func(o *Options) {
			o.PodDisruptionBudget = PodDisruptionBudget{Enabled: true, MaxUnavailable: 2}
		},
		"values: networkPolicy.hostAPIServers: is required: the addresses of the host's API server, as `kubectl get endpointslices -n default` says them": func(o *Options) {
			o.NetworkPolicy.Enabled = true
		},
		`values: networkPolicy.hostAPIServers[0].cidr: "192.0.2.10" is not a range such as 192.0.2.10/32`: func(o *Options) {
			o.NetworkPolicy = NetworkPolicy{Enabled: true, HostAPIServers: []Endpoint{{CIDR: "192.0.2.10", Port: 6443}}}
		},
		`values: networkPolicy.hostAPIServers[0].port: 0 is not between 1 and 65535`: func(o *Options) {
			o.NetworkPolicy = NetworkPolicy{Enabled: true, HostAPIServers: []Endpoint{{CIDR: "192.0.2.10/32"}}}
		},
		`values: limitRange.limits[0].type: "Node" is not one of Container, Pod, PersistentVolumeClaim`: func(o *Options) {
			o.LimitRange = []corev1.LimitRangeItem{{Type: "Node"}}
		},
		`values: resources.limits.cpu: is required, or a default in limitRange, where resourceQuota.hard counts it`: func(o *Options) {
			o.ResourceQuota = corev1.ResourceList{"limits.cpu": resource.MustParse("8")}
		},
	} {
		o := example()
		change(&o)
		_, err := Objects(o)
		require.EqualError(t, err, want)
	}
}

func set(t *testing.T, o Options) *appsv1.StatefulSet {
	t.Helper()
	objects, err := Objects(o)
	require.NoError(t, err)
	last, ok := objects[len(objects)-1].(*appsv1.StatefulSet)
	require.True(t, ok, "the StatefulSet comes last")
	return last
}

func text(tree map[string][]byte) map[string]string {
	out := map[string]string{}
	for path, content := range tree {
		out[path] = string(content)
	}
	return out
}

func onDisk(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "chart" {
			return fs.SkipDir // partly written by hand
		}
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		relative, _ := filepath.Rel(root, path)
		out[filepath.ToSlash(relative)] = string(content)
		return err
	}))
	return out
}

// parse indexes documents by kind and name.
func parse(t *testing.T, stream []byte) map[string]any {
	t.Helper()
	out := map[string]any{}
	for document := range strings.SplitSeq(string(stream), "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object))
		var content any
		require.NoError(t, yaml.Unmarshal([]byte(document), &content))
		out[object.Kind+"/"+object.Metadata.Name] = content
	}
	return out
}

// Rights that a feature needs come with the feature.
func TestRightsFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	grants := func(rules []rbacv1.PolicyRule, resource string) bool {
		return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
			return rule.APIGroups[0] == "" && slices.Contains(rule.Resources, resource)
		})
	}
	plain, more := example(), example()
	more.Config.Sync.ServiceAccounts = true
	more.Config.Nodes.Mirror = config.MirrorUsed
	more.Config.Sync.Disabled = config.CanDisable()
	require.False(t, grants(role(plain).Rules, "serviceaccounts"))
	require.True(t, grants(role(more).Rules, "serviceaccounts"))
	require.True(t, grants(clusterRole(plain).Rules, "nodes"))
	require.False(t, grants(clusterRole(more).Rules, "nodes"))
	for _, plural := range config.CanDisable() {
		mentions := func(o Options) bool {
			return slices.ContainsFunc(slices.Concat(role(o).Rules, clusterRole(o).Rules), func(rule rbacv1.PolicyRule) bool {
				return slices.Contains(rule.Resources, plural)
			})
		}
		require.True(t, mentions(plain), plural)
		require.False(t, mentions(more), plural)
	}
}

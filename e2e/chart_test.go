package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/e2e/application"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/pkg/deploy"
)

// mixes is how many random sets of parts are rendered.
const mixes = 16

// parts are files of values that go together, whatever others are there.
func parts() map[string]string {
	return map[string]string{
		"another image":        "image: registry.example.org:5000/nestling@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"an emptyDir":          "ephemeral: true",
		"no ClusterRole":       "namespaced: true",
		"another volume":       "storage: {size: 1024Mi, className: fast}",
		"a volume to keep":     "storage: {size: 12, keep: true}",
		"the platform's group": "fsGroup: -1",
		"a large group":        "fsGroup: 1000650000",
		"more memory":          "resources: {requests: {memory: 0.5Gi, ephemeral-storage: 1Gi}, limits: {memory: 4294967296, cpu: 2}}",
		"no limits":            "resources: {limits: {memory: null}}",
		"a budget":             "podDisruptionBudget: {enabled: true}",
		"a budget of nothing":  "podDisruptionBudget: {enabled: true, maxUnavailable: 0}",
		"a quota":              "resourceQuota: {hard: {pods: 50, requests.storage: 1Ti, count/jobs.batch: '7'}}",
		"limits of containers": "limitRange: {limits: [{type: Container, default: {cpu: 0.5, memory: 256Mi}, maxLimitRequestRatio: {cpu: 4}}, {type: PersistentVolumeClaim, max: {storage: 10Gi}}]}",
		"a fence":              "networkPolicy: {enabled: true, hostAPIServers: [{cidr: 192.0.2.10/32, port: 6443}, {cidr: 'fd00::/64', port: 443}]}",
		"a fence with gates": `networkPolicy:
  enabled: true
  hostAPIServers: [{cidr: 192.0.2.10/32, port: 443}]
  apiFrom: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [a, b]}]}, podSelector: {}}]
  nameservers: []
  egress: [{to: [{ipBlock: {cidr: 198.51.100.7/32}}], ports: [{port: 443}, {port: web, protocol: UDP}, {port: 8000, endPort: 9000}]}]`,
		"nameservers":          "config: {dns: {upstream: [192.0.2.1, '192.0.2.2:5353', 'fd00::53', '[fd00::53]:54'], stubDomains: {b.example: [192.0.2.3], a.example: ['192.0.2.4:53', '::1']}}}",
		"a monitor":            "serviceMonitor: {enabled: true, labels: {release: prometheus}}",
		"a monitor in a hurry": "serviceMonitor: {enabled: true, interval: 5s}",
		"pods' own identities": "config: {sync: {serviceAccounts: true}}",
		"everything synced":    "config: {sync: {configMaps: all, secrets: all}}",
		"few nodes":            "config: {nodes: {mirror: used}}",
		"kinds left out":       "config: {sync: {disabled: [ingresses, networkpolicies, endpoints]}}",
		"all kinds left out":   "config: {sync: {disabled: [endpoints, endpointslices, ingressclasses, ingresses, networkpolicies, poddisruptionbudgets]}}",
		"settings":             "config: {clusterDomain: tenant.example, etcd: {quotaBytes: 4294967296}, runtime: {gogc: 50}, sync: {workers: 1e2, serviceAccountTokens: {rotateAt: 0.25}, priorityClasses: {selector: 'tenants=yes, team notin (a,b)'}}}",
		"settings that change nothing": `config:
  apiVersion: nestling.dev/v1alpha1
  kind: Config
  apiServer: {sans: [], audit: {webhook: {secret: ""}, policy: {}}}
  dns: {hostCluster: false, upstream: [], stubDomains: {}}
  sync: {disabled: [], priorityClasses: {system: false}}`,
		"no preflight":      "config: {sync: {preflight: false}}",
		"a cautious disk":   "config: {etcd: {unsafeNoFsync: false}}",
		"Secrets mounted":   "config: {apiServer: {encryption: {secret: at-rest}, audit: {policy: {apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}, webhook: {secret: collector}}}}",
		"a record":          "config: {apiServer: {audit: {log: stdout, policy: {apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [{level: None, users: ['system:kube-controller-manager'], verbs: [get]}, {level: Request, omitManagedFields: false}]}}}}",
		"rules for pods":    "config: {pods: {deny: [{name: registry, expression: \"!images.all(i, i.startsWith('registry.example/'))\", message: only ours}], force: {nodeSelector: {pool: tenants, spot: ''}, runtimeClass: gvisor, tolerations: [{key: tenants, operator: Exists, effect: NoExecute, tolerationSeconds: 0}, {operator: Exists}]}}}",
		"no rules for pods": "config: {pods: {deny: [], force: {nodeSelector: {}, tolerations: [], priorityClass: ''}}, metrics: {scrapeSecret: false}}",
		"a load balancer":   "config: {apiServer: {exposure: {type: LoadBalancer, host: null, port: 6443, loadBalancerClass: example.com/internal, sourceRanges: [192.0.2.0/24], annotations: {a.example/b: 'true'}, nodePort: null, ingressClassName: null, parentRefs: null, routeVersion: null}}}",
		"ports of nodes":    "config: {apiServer: {exposure: {type: NodePort, host: node.example, port: 30443, nodePort: 30443, loadBalancerClass: null, sourceRanges: null, ingressClassName: null, parentRefs: null, routeVersion: null}}}",
		"an Ingress":        "config: {apiServer: {exposure: {type: Ingress, host: team-a.example, port: null, ingressClassName: nginx, annotations: {haproxy.org/ssl-passthrough: 'false', x.example/y: z}, loadBalancerClass: null, sourceRanges: null, nodePort: null, parentRefs: null, routeVersion: null}}}",
		"a Gateway":         "config: {apiServer: {exposure: {type: Gateway, host: team-a.example, port: null, parentRefs: [{name: edge, namespace: gateways, sectionName: tls}, {name: inner}], routeVersion: v1alpha3, loadBalancerClass: null, sourceRanges: null, nodePort: null, ingressClassName: null}}}",
		"kubeconfigs": `config:
  kubeconfigs:
  - {secret: {namespace: argocd, name: team-a}, format: argocd, inCluster: true, clusterName: ''}
  - {secret: {name: here}, user: jane, groups: [dev], clusterRole: view, namespaces: []}
  - {secret: {namespace: flux-system, name: x}, format: flux, serviceAccount: {name: flux}, clusterRole: cluster-admin}
  - {secret: {namespace: argocd, name: another}, user: joe, role: deployer, namespaces: [web]}`,
		"initial objects":   "config: {initialObjects: [{apiVersion: v1, kind: Namespace, metadata: {name: apps, labels: {}}}, {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: apps}, data: {text: \"two\\nlines\\n\", empty: ''}}]}",
		"another address":   "config: {apiServer: {sans: [team-a.example.org, 192.0.2.7], serverURL: 'https://team-a.example.org:6443'}}",
		"a text to be torn": "config: {apiServer: {authentication: {apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwt: [{issuer: {url: https://issuer.example, audiences: [kubernetes]}, claimMappings: {username: {claim: sub, prefix: 'oidc:'}}, claimValidationRules: [{expression: 'claims.exp - claims.nbf <= 86400 && claims.hd == \"a domain of many letters that makes a long line\"', message: \"no more than\\na day\"}]}]}}}",
	}
}

const tenantOfChart, namespaceOfChart = "pr-7", "ci"

// renderer makes the objects of a tenant in three ways.
type renderer struct {
	app  *application.Application
	root string
}

// TestChart renders the Helm chart, the kustomize base and its overlays, and what `nestling manifests` prints: for all
// values, all three are the same objects.
func TestChart(t *testing.T) {
	if os.Getenv(realTests) != "" {
		t.Skip("no node is needed: it is for make test")
	}
	root, err := node.Root(t.Context())
	require.NoError(t, err)
	app, err := application.Build(t.Context(), root)
	require.NoError(t, err)
	r := &renderer{app: app, root: root}

	all, names := parts(), slices.Sorted(maps.Keys(parts()))
	t.Run("no values", func(t *testing.T) { r.agree(t, nil) })
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r.agree(t, []string{all[name]})
		})
	}
	for name, bad := range refusals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r.refuse(t, bad.values, bad.helm, bad.nestling)
		})
	}
	for range mixes {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("mix %d", seed), func(t *testing.T) { // to be had again by its number
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			order := random.Perm(len(names))
			var files []string
			for _, i := range order[:2+random.IntN(len(names)-2)] {
				t.Log(names[i])
				files = append(files, all[names[i]])
			}
			r.agree(t, files)
		})
	}
}

// refusals are values that neither takes: what Helm has to say about each, and what we say.
func refusals() map[string]struct{ values, helm, nestling string } {
	return map[string]struct{ values, helm, nestling string }{
		"an unknown field":           {"storage: {sise: 5Gi}", `'/storage': additional properties 'sise' not allowed`, `storage.sise: unknown field`},
		"an unknown setting":         {"config: {sync: {podz: all}}", `'/config/sync': additional properties 'podz' not allowed`, `config.sync.podz: unknown field`},
		"a text for true or false":   {"ephemeral: sometimes", `'/ephemeral': got string, want boolean`, `ephemeral: want true or false, found string`},
		"a text for a number":        {"config: {sync: {workers: many}}", `'/config/sync/workers': got string, want null or integer`, `config.sync.workers: want an integer, found string`},
		"a size that is none":        {"storage: {size: big}", `'/storage/size'`, `storage.size: "big" is not a quantity such as 5Gi`},
		"a word that is none":        {"config: {nodes: {mirror: some}}", `'/config/nodes/mirror': value must be one of 'auto', 'all', 'used', <nil>`, `nodes.mirror: "some" is not one of auto, all, used`},
		"a kind that must be synced": {"config: {sync: {disabled: [pods]}}", `'/config/sync/disabled/0'`, `sync.disabled[0]: "pods" is not one of`},
		"a budget of two":            {"podDisruptionBudget: {enabled: true, maxUnavailable: 2}", `'/podDisruptionBudget/maxUnavailable': value must be one of 0, 1`, `podDisruptionBudget.maxUnavailable: 2 is neither 0 nor 1`},
		"a type that is not there":   {"limitRange: {limits: [{type: Node}]}", `'/limitRange/limits/0/type'`, `limitRange.limits[0].type: "Node" is not one of`},
		"a default taken away":       {"storage: {size: null}", `'/storage': missing property 'size'`, `storage.size: is required`},
		"an image that is none":      {"image: ''", `'/image'`, `--image: "" is not the name of an image`},
		"a fence without the host":   {"networkPolicy: {enabled: true}", `networkPolicy.hostAPIServers: is required`, `networkPolicy.hostAPIServers: is required`},
		"a fence with half a gate":   {"networkPolicy: {enabled: true, hostAPIServers: [{port: 443}]}", `'/networkPolicy/hostAPIServers/0': missing property 'cidr'`, `networkPolicy.hostAPIServers[0].cidr: "" is not a range`},
		"another tenant's settings":  {"config: {tenant: other}", `config.tenant: is "other", not "pr-7"`, `config.tenant: is "other", not "pr-7"`},
	}
}

func (r *renderer) refuse(t *testing.T, content, helm, nestling string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	values, err := deploy.ReadValues(deploy.ValuesFile{Name: path, Data: []byte(content)})
	if err == nil {
		var options deploy.Options
		if options, err = values.Options(tenantOfChart, namespaceOfChart); err == nil {
			err = options.Validate()
		}
	}
	require.ErrorContains(t, err, nestling)
	said, err := r.helm(t, "--values", path)
	require.Error(t, err)
	require.Contains(t, string(said), helm)
}

func (r *renderer) helm(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	return exec.CommandContext(t.Context(), r.app.Helm, append([]string{
		"template", tenantOfChart, filepath.Join(r.root, "manifests/chart/nestling"), "--namespace", namespaceOfChart}, args...)...).CombinedOutput()
}

func (r *renderer) agree(t *testing.T, files []string) {
	t.Helper()
	var read []deploy.ValuesFile
	var args []string
	dir := t.TempDir()
	for i, content := range files {
		path := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		read = append(read, deploy.ValuesFile{Name: path, Data: []byte(content)})
		args = append(args, "--values", path)
	}
	values, err := deploy.ReadValues(read...)
	require.NoError(t, err)
	options, err := values.Options(tenantOfChart, namespaceOfChart)
	require.NoError(t, err)
	manifests, err := deploy.YAML(options)
	require.NoError(t, err)
	want := objectsOf(t, manifests)

	charted, err := r.helm(t, args...)
	require.NoError(t, err, string(charted))
	same(t, want, objectsOf(t, charted))

	overlay := "base"
	switch {
	case options.Ephemeral && options.Namespaced:
		return // overlays are for one of them
	case options.Ephemeral:
		overlay = "overlays/ephemeral"
	case options.Namespaced:
		overlay = "overlays/namespaced"
	}
	tree, err := deploy.Tree(options)
	require.NoError(t, err)
	for name, content := range tree {
		path := filepath.Join(dir, "manifests", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	built, err := exec.CommandContext(t.Context(), r.app.Kustomize, filepath.Join(dir, "manifests", overlay)).CombinedOutput()
	require.NoError(t, err, string(built))
	same(t, want, objectsOf(t, built))
}

// same compares object by object, so that a difference can be read.
func same(t *testing.T, want, got map[string]string) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for key := range want {
		require.Empty(t, cmp.Diff(want[key], got[key]), key)
	}
}

// objectsOf are the documents of a stream by kind and name, as an API server would read them: strictly, and with
// quantities in one form.
func objectsOf(t *testing.T, stream []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for document := range strings.SplitSeq("\n"+string(stream), "\n---\n") {
		var content map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(document), &content), document)
		if content == nil {
			continue // comments
		}
		var head struct {
			APIVersion, Kind string
			Metadata         struct{ Namespace, Name string }
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &head))
		if group, err := schema.ParseGroupVersion(head.APIVersion); err == nil && scheme.Scheme.Recognizes(group.WithKind(head.Kind)) {
			typed, _, err := decoder.Decode([]byte(document), nil, nil)
			require.NoError(t, err, document)
			content, err = deploy.Content(typed.(deploy.Object))
			require.NoError(t, err)
		}
		key := strings.Join([]string{head.Kind, head.Metadata.Namespace, head.Metadata.Name}, "/")
		require.Empty(t, out[key], key)
		normal, err := yaml.Marshal(content)
		require.NoError(t, err)
		out[key] = string(normal)
	}
	return out
}

package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// load runs the whole chain over a file's text, an environment and a command line.
func load(t *testing.T, file string, env map[string]string, args ...string) (*Config, error) {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := AddFlags(set)
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		args = append(args, "--config", path)
	}
	require.NoError(t, set.Parse(args))
	return flags.Load(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
}

const head = "apiVersion: nestling.dev/v1alpha1\nkind: Config\n"

func TestPrecedence(t *testing.T) {
	t.Parallel()
	env := map[string]string{"NESTLING_TENANT": "from-env", "POD_NAMESPACE": "from-env", "POD_IP": "10.0.0.1"}
	c, err := load(t, head+"host: {namespace: from-file}\nnodes: {mirror: used}\napiServer: {sans: [file.example], port: 9443}\n", env,
		"--nodes-mirror=all", "--sans=a.example,b.example", "--sans", "c.example", "--sync-preflight=false", "-v=4")
	require.NoError(t, err)

	want := Default()
	want.Tenant = "from-env"
	want.Host.Namespace = "from-file"
	want.Nodes.Mirror = MirrorAll
	want.APIServer.AdvertiseAddress = "10.0.0.1"
	want.APIServer.Port = 9443
	want.APIServer.SANs = []string{"a.example", "b.example", "c.example"}
	want.Sync.Preflight = new(bool)
	want.Log.Verbosity = 4
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(Config{}, environment{})); diff != "" {
		t.Error(diff)
	}
}

func TestBadFilesNameTheField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"an unknown field deep inside":    {head + "sync:\n  workerz: 3\n", `config: sync.workerz: unknown field`},
		"a field in another case":         {head + "dataDIR: /x\n", `config: dataDIR: unknown field`},
		"a string for a number":           {head + "apiServer: {port: https}\n", `config: apiServer.port: want an integer, found string`},
		"a mapping for a list":            {head + "apiServer: {sans: {a: b}}\n", `config: apiServer.sans: want a list, found object`},
		"a fraction for an integer":       {head + "sync: {workers: 1.5}\n", `config: sync.workers: want an integer, found number 1.5`},
		"another version":                 {"apiVersion: nestling.dev/v9\nkind: Config\n", `config: apiVersion: "nestling.dev/v9" in FILE: want nestling.dev/v1alpha1`},
		"another kind":                    {"apiVersion: nestling.dev/v1alpha1\nkind: Pod\n", `config: kind: "Pod" in FILE: want Config`},
		"an empty file":                   {"# nothing\n", `config: apiVersion: "" in FILE: want nestling.dev/v1alpha1`},
		"no mapping":                      {"- a\n", `config: FILE: is no YAML mapping with apiVersion and kind`},
		"two documents":                   {head + "---\n" + head, `config: FILE: holds more than one YAML document`},
		"a field twice":                   {head + "tenant: a\ntenant: b\n", `config: FILE: unmarshal errors:   line 4: key "tenant" already set in map`},
		"two unknown fields, in one line": {head + "a: 1\nhost: {b: 2}\n", `config: a: unknown field; host.b: unknown field`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, test.file, nil)
			var bad *Error
			require.ErrorAs(t, err, &bad)
			got := regexp.MustCompile(`/\S*config\.yaml`).ReplaceAllString(err.Error(), "FILE")
			require.Equal(t, test.want, got)
		})
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	_, err := load(t, "", nil, "--config=/nowhere/config.yaml")
	require.EqualError(t, err, "config: open /nowhere/config.yaml: no such file or directory")
}

func TestNullKeepsTheDefault(t *testing.T) {
	t.Parallel()
	c, err := load(t, head+"sync: {preflight: null}\n", nil, "--tenant=a", "--host-namespace=b")
	require.NoError(t, err)
	done, err := c.Complete()
	require.NoError(t, err)
	require.True(t, done.Preflight)
}

func TestBadValuesNameTheField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"a tenant that is no label":      {func(c *Config) { c.Tenant = "A_b" }, `tenant: "A_b" is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)`},
		"a tenant of 41 characters":      {func(c *Config) { c.Tenant = strings.Repeat("a", 41) }, `tenant: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" has 41 characters; at most 40 are allowed`},
		"a tenant that starts with 1":    {func(c *Config) { c.Tenant = "1a" }, `tenant: "1a" must start with a letter`},
		"no tenant":                      {func(c *Config) { c.Tenant = "" }, `tenant: is required: the name of this nestling`},
		"no namespace":                   {func(c *Config) { c.Host.Namespace = "" }, `host.namespace: is required: the host namespace that holds the tenant`},
		"a relative data directory":      {func(c *Config) { c.DataDir = "data" }, `dataDir: "data" is not an absolute path`},
		"port 0":                         {func(c *Config) { c.APIServer.Port = 0 }, `apiServer.port: 0 is not between 1 and 65535`},
		"a SAN with a blank":             {func(c *Config) { c.APIServer.SANs = []string{"ok.example", "*.ok.example", "::1", "a b"} }, `apiServer.sans[3]: "a b" is neither a DNS name nor an IP address`},
		"a server URL without TLS":       {func(c *Config) { c.APIServer.ServerURL = "http://a" }, `apiServer.serverURL: "http://a" is not an https:// URL`},
		"a range that is an address":     {func(c *Config) { c.Host.ServiceCIDR = "10.0.0.1" }, `host.serviceCIDR: "10.0.0.1" is not a range such as 10.96.0.0/12`},
		"an unknown mirror":              {func(c *Config) { c.Nodes.Mirror = "some" }, `nodes.mirror: "some" is not one of auto, all, used`},
		"a token that is never rotated":  {func(c *Config) { c.Sync.ServiceAccountTokens.RotateAt = 1 }, `sync.serviceAccountTokens.rotateAt: 1 is not above 0 and at most 0.95`},
		"an unknown way with classes":    {func(c *Config) { c.Sync.PriorityClasses.Unavailable = "ignore" }, `sync.priorityClasses.unavailable: "ignore" is not one of drop, reject`},
		"a selector of runtimes":         {func(c *Config) { c.Sync.RuntimeClasses.Selector = "a b" }, `sync.runtimeClasses.selector: "a b" is not a label selector such as tenants=yes: unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt`},
		"a kind that is always synced":   {func(c *Config) { c.Sync.Disabled = []string{"ingresses", "pods"} }, `sync.disabled[1]: "pods" is not one of endpoints, endpointslices, ingressclasses, ingresses, networkpolicies, poddisruptionbudgets`},
		"a nameserver by its name":       {func(c *Config) { c.DNS.Upstream = []string{"10.0.0.53", "dns.example"} }, `dns.upstream[1]: "dns.example" is not the address of a nameserver, such as 10.0.0.53 or [fd00::53]:5353`},
		"a nameserver at port 0":         {func(c *Config) { c.DNS.Upstream = []string{"10.0.0.53:0"} }, `dns.upstream[0]: "10.0.0.53:0" is not the address of a nameserver, such as 10.0.0.53 or [fd00::53]:5353`},
		"a stub domain of nobody":        {func(c *Config) { c.DNS.StubDomains = map[string][]string{"corp.example": nil} }, `dns.stubDomains[corp.example]: has no nameservers`},
		"a stub domain of the cluster's": {func(c *Config) { c.DNS.StubDomains = map[string][]string{"svc.cluster.local": {"::1"}} }, `dns.stubDomains[svc.cluster.local]: is the virtual cluster's own: see clusterDomain`},
		"a stub domain with a wildcard":  {func(c *Config) { c.DNS.StubDomains = map[string][]string{"*.example": {"::1"}} }, `dns.stubDomains[*.example]: "*.example" is not a DNS domain, such as cluster.local`},
		"an unknown exposure":            {func(c *Config) { c.APIServer.Exposure.Type = "Route" }, `apiServer.exposure.type: "Route" is not one of ClusterIP, LoadBalancer, NodePort, Ingress, Gateway`},
		"an Ingress without a name":      {func(c *Config) { c.APIServer.Exposure.Type = ExposeIngress }, `apiServer.exposure.host: is required for type Ingress: the DNS name that clients use`},
		"an Ingress with an address":     {func(c *Config) { c.APIServer.Exposure = Exposure{Type: ExposeIngress, Host: "192.0.2.1"} }, `apiServer.exposure.host: "192.0.2.1" is an address; type Ingress tells tenants apart by a DNS name`},
		"a host with a wildcard":         {func(c *Config) { c.APIServer.Exposure.Host = "*.example" }, `apiServer.exposure.host: "*.example" is neither a DNS name nor an IP address`},
		"node ports of unread nodes":     {func(c *Config) { c.APIServer.Exposure.Type, c.Nodes.Mirror = ExposeNodePort, MirrorUsed }, `apiServer.exposure.host: is required for type NodePort where nodes.mirror is used: the addresses of nodes are not read`},
		"a port of nothing":              {func(c *Config) { c.APIServer.Exposure.Port = 6443 }, `apiServer.exposure.port: needs exposure.host: nothing of the tenant's listens there`},
		"a Gateway without parents":      {func(c *Config) { c.APIServer.Exposure = Exposure{Type: ExposeGateway, Host: "a.example"} }, `apiServer.exposure.parentRefs: is required for type Gateway: the Gateways with a TLS listener of mode Passthrough`},
		"a parent without a name": {func(c *Config) {
			c.APIServer.Exposure = Exposure{Type: ExposeGateway, Host: "a.example", ParentRefs: []ParentRef{{Namespace: "a"}}}
		}, `apiServer.exposure.parentRefs[0]: has no name`},
		"a class for the wrong type": {func(c *Config) { c.APIServer.Exposure.LoadBalancerClass = "a" }, `apiServer.exposure.loadBalancerClass: is for type LoadBalancer only`},
		"a source that is no range": {func(c *Config) {
			c.APIServer.Exposure = Exposure{Type: ExposeLoadBalancer, SourceRanges: []string{"10.0.0.1"}}
		}, `apiServer.exposure.sourceRanges[0]: "10.0.0.1" is not a range such as 192.0.2.0/24`},
		"an annotation without a name":   {func(c *Config) { c.APIServer.Exposure.Annotations = map[string]string{"a b": ""} }, `apiServer.exposure.annotations[a b]: is not the name of an annotation`},
		"DNS on the API's port":          {func(c *Config) { c.DNS.Port = c.APIServer.Port }, `dns.port: 8443 is apiServer.port already`},
		"several mistakes at once":       {func(c *Config) { c.Tenant, c.Sync.Workers = "-", 0 }, `tenant: "-" is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends); sync.workers: 0 is not between 1 and 256`},
		"a quota smaller than the store": {func(c *Config) { c.Etcd.QuotaBytes = 1 }, `etcd.quotaBytes: 1 is not between 67108864 and 68719476736`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Default()
			c.Tenant, c.Host.Namespace = "team-a", "tenants"
			test.change(c)
			_, err := c.Complete()
			require.EqualError(t, err, "config: "+test.want)
		})
	}
}

func TestCompleteInPod(t *testing.T) {
	t.Parallel()
	c, err := load(t, head, map[string]string{
		"NESTLING_TENANT": "team-a", "POD_NAMESPACE": "tenants", "POD_NAME": "team-a-0", "POD_UID": "u", "POD_IP": "10.1.0.7",
		"KUBERNETES_SERVICE_HOST": "10.96.0.1",
	})
	require.NoError(t, err)
	done, err := c.Complete()
	require.NoError(t, err)
	require.Equal(t, "https://team-a.tenants.svc:443", done.ServerURL)
	require.Equal(t, "team-a", done.Host.Service)
	require.Equal(t, "10.96.0.0/12", done.ServiceCIDR.String())
	require.Equal(t, "team-a-0", done.PodName)
	require.Equal(t, "u", done.PodUID)
	require.Equal(t, "10.1.0.7", done.AdvertiseIP().String())
	require.True(t, done.InCluster())
	require.True(t, done.Preflight)
}

func TestNameservers(t *testing.T) {
	t.Parallel()
	c, err := load(t, head+"dns: {upstream: [192.0.2.1], stubDomains: {corp.example: [192.0.2.2]}}\n", nil, "--tenant=a", "--host-namespace=b",
		"--dns-upstream=192.0.2.3,[fd00::53]:5353", "--dns-stub-domains=a.example=192.0.2.4", "--dns-stub-domains", "b.example=fd00::1,a.example=192.0.2.5:54")
	require.NoError(t, err)
	done, err := c.Complete()
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.3:53", "[fd00::53]:5353"}, done.DNS.Upstream)
	require.Empty(t, cmp.Diff(map[string][]string{"a.example": {"192.0.2.4:53", "192.0.2.5:54"}, "b.example": {"[fd00::1]:53"}}, done.DNS.StubDomains))

	require.EqualError(t, (&mapping{to: &c.DNS.StubDomains}).Set("a.example"), `"a.example" is not DOMAIN=NAMESERVER`)
}

func TestExposureByFlags(t *testing.T) {
	t.Parallel()
	c, err := load(t, head+"apiServer: {exposure: {type: Ingress, annotations: {old: one}}}\n", nil, "--tenant=a", "--host-namespace=b",
		"--exposure=Gateway", "--exposure-host=a.example", "--exposure-parent-refs=infra/public,/own/tls", "--exposure-annotations=a.example/b=c=d", "--exposure-annotations=e=f")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Exposure{
		Type: ExposeGateway, Host: "a.example", Annotations: map[string]string{"a.example/b": "c=d", "e": "f"},
		ParentRefs: []ParentRef{{Namespace: "infra", Name: "public"}, {Name: "own", SectionName: "tls"}},
	}, c.APIServer.Exposure))
	done, err := c.Complete()
	require.NoError(t, err)
	require.Empty(t, done.ServerURL, "the exposure makes it")
	require.Equal(t, "https://a.b.svc:443", done.InClusterURL)

	require.EqualError(t, (&pairs{to: &c.APIServer.Exposure.Annotations}).Set("a"), `"a" is not KEY=VALUE`)
	require.EqualError(t, (&parents{to: &c.APIServer.Exposure.ParentRefs}).Set("a"), `"a" is not NAMESPACE/NAME or NAMESPACE/NAME/LISTENER`)
}

// A process with a kubeconfig may run in a pod of a cluster that is not its host.
func TestCompleteOutsideIgnoresTheClusterAround(t *testing.T) {
	t.Parallel()
	c, err := load(t, "", map[string]string{"KUBERNETES_SERVICE_HOST": "172.20.0.1"}, "--tenant=a", "--host-namespace=b", "--host-kubeconfig=/x")
	require.NoError(t, err)
	done, err := c.Complete()
	require.NoError(t, err)
	require.False(t, done.ServiceCIDR.IsValid())
	require.Nil(t, done.AdvertiseIP())
}

func TestServiceRange(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"10.96.0.1": "10.96.0.0/12", "10.43.0.1": "10.32.0.0/12", "172.30.0.1": "172.16.0.0/12", "::ffff:10.96.0.1": "10.96.0.0/12",
		"fd00:10:96::1": "fd00:10:96::/64",
	} {
		require.Equal(t, want, ServiceRange(netip.MustParseAddr(ip)).String(), ip)
	}
}

// Every leaf of Config is in the table, and the table names no other.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	var listed []string
	seen := map[string]bool{}
	for _, field := range Reference() {
		listed = append(listed, field.Path)
		require.NotEmpty(t, field.Usage, field.Path)
		require.False(t, seen[field.Flag], field.Flag)
		seen[field.Flag] = true
	}
	if diff := cmp.Diff(leaves(reflect.TypeFor[Config](), ""), listed); diff != "" {
		t.Error(diff)
	}
}

func leaves(t reflect.Type, prefix string) []string {
	var paths []string
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported(), name == "apiVersion", name == "kind":
		case field.Type.Kind() == reflect.Struct:
			paths = append(paths, leaves(field.Type, prefix+name+".")...)
		default:
			paths = append(paths, prefix+name)
		}
	}
	return paths
}

func FuzzFile(f *testing.F) {
	f.Add(head + "tenant: a\nhost: {namespace: b}\n")
	f.Add(head + "sync: {preflight: null, workers: 1e3}\n---\n")
	f.Fuzz(func(t *testing.T, file string) {
		c := Default()
		if err := c.applyFile("f", []byte(file)); err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		_ = fields(c) // must not meet a nil pointer
		_, _ = c.Complete()
	})
}

package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// everythingAround is a file with all that a tenant can do without.
const everythingAround = `
podDisruptionBudget: {enabled: true, maxUnavailable: 0}
resourceQuota: {hard: {pods: 50, requests.memory: 16Gi, limits.cpu: 8}}
limitRange: {limits: [{type: Container, default: {cpu: 500m}, defaultRequest: {cpu: 100m, memory: 64Mi}}]}
networkPolicy:
  enabled: true
  apiFrom: [{ipBlock: {cidr: 192.0.2.0/24}}, {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  hostAPIServers: [{cidr: 192.0.2.10/32, port: 6443}, {cidr: 'fd00::1/128', port: 443}]
  egress: [{to: [{ipBlock: {cidr: 198.51.100.7/32}}], ports: [{port: 443}]}]
serviceMonitor: {enabled: true, interval: 30s, labels: {release: prometheus}}
config: {dns: {upstream: ['192.0.2.53', '[fd00::53]:5353'], stubDomains: {b.example: [192.0.2.55], a.example: ['192.0.2.54:54']}}}
`

func TestSurroundings(t *testing.T) {
	t.Parallel()
	o, err := options(t, everythingAround)
	require.NoError(t, err)
	require.NoError(t, o.Validate())
	objects, err := surroundings(o)
	require.NoError(t, err)
	var got bytes.Buffer
	for _, object := range objects {
		document, err := document(object)
		require.NoError(t, err)
		got.WriteString("---\n")
		got.Write(document)
	}
	golden := filepath.Join("testdata", "surroundings.yaml")
	if *update {
		require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), got.String()), "run `make update-generated` if these objects are meant")
}

// Prometheus would scrape the pod once for each Service with its port that a ServiceMonitor selects.
func TestOneServiceIsScraped(t *testing.T) {
	t.Parallel()
	objects, err := Objects(example())
	require.NoError(t, err)
	var scraped []string
	for _, object := range objects {
		if service, ok := object.(*corev1.Service); ok && service.Labels[componentLabel] == componentMetrics {
			scraped = append(scraped, service.Name)
		}
	}
	require.Equal(t, []string{"team-a-headless"}, scraped)
}

// A quota lets no pod in that lacks what it counts: not the control plane either.
func TestAQuotaFitsTheControlPlane(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Options)
		fits   bool
	}{
		"what the container has":       {func(o *Options) { o.ResourceQuota["limits.memory"] = resource.MustParse("8Gi") }, true},
		"a limit that it has not":      {func(o *Options) { o.ResourceQuota["limits.cpu"] = resource.MustParse("8") }, false},
		"a request by its short name":  {func(o *Options) { o.ResourceQuota["ephemeral-storage"] = resource.MustParse("8Gi") }, false},
		"a limit is a request as well": {func(o *Options) { o.ResourceQuota["memory"], o.Resources.Requests = resource.MustParse("8Gi"), nil }, true},
		"a default for every container": {func(o *Options) {
			o.ResourceQuota["limits.cpu"] = resource.MustParse("8")
			o.LimitRange = []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Default: corev1.ResourceList{"cpu": resource.MustParse("1")}}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := example()
			o.ResourceQuota = corev1.ResourceList{}
			test.change(&o)
			if err := o.Validate(); test.fits {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "where resourceQuota.hard counts it")
			}
		})
	}
}

package stories

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/e2e/monitoring"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/metrics/families"
)

// observation is what whoever runs the host sees of a tenant.
func observation() []Story {
	return []Story{
		{Name: "Prometheus, with its credential, finds every metric that is documented, no other, and nothing else", Run: scrape},
		{Name: "an edit of a host object shows as drift", Run: driftShows},
	}
}

func scrape(t *testing.T, w *World) {
	space := namespace(t, w.A, "scrape")
	runPod(t, w, w.A, space, "metadata: {name: seen}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE}]}")
	anchors := w.Host.CoreV1().ConfigMaps(w.HostNamespace)
	annotate := func(ctx context.Context, value string) error {
		_, err := anchors.Patch(ctx, w.A.Name+"-anchor", types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, deploy.ExpiresAtAnnotation, value), metav1.PatchOptions{})
		return err
	}
	end := time.Now().Add(240 * time.Hour).Truncate(time.Second)
	require.NoError(t, annotate(t.Context(), `"`+end.UTC().Format(time.RFC3339)+`"`))
	t.Cleanup(func() { require.NoError(t, annotate(context.WithoutCancel(t.Context()), "null")) })

	var credential *corev1.Secret
	eventually(t, "the credential for Prometheus", func(ctx context.Context) (bool, string) {
		var err error
		credential, err = w.Host.CoreV1().Secrets(w.HostNamespace).Get(ctx, w.A.Name+"-metrics", metav1.GetOptions{})
		return err == nil, errText(err)
	})
	require.ElementsMatch(t, []string{"ca.crt", "tls.crt", "tls.key"}, slices.Collect(maps.Keys(credential.Data)))
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: w.A.Config.Host, Dial: w.A.Config.Dial,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: credential.Data["ca.crt"], CertData: credential.Data["tls.crt"], KeyData: credential.Data["tls.key"],
			ServerName: w.A.Name + "." + w.HostNamespace + ".svc", // as in the ServiceMonitor
		},
	})
	require.NoError(t, err)
	for _, path := range []string{"/api/v1/namespaces", "/api/v1/secrets", "/version", "/healthz", "/openapi/v2", "/metrics/slis"} {
		status := 0
		client.RESTClient().Get().AbsPath(path).Do(t.Context()).StatusCode(&status)
		require.Equal(t, http.StatusForbidden, status, path)
	}

	page := ""
	want := documented()
	eventually(t, "all documented metrics", func(ctx context.Context) (bool, string) {
		raw, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		page = string(raw)
		have := parseMetrics(t, page)
		missing := slices.DeleteFunc(slices.Clone(want), func(name string) bool { return have[name] != nil || name == families.InitialObjects }) // this tenant has none
		return err == nil && len(missing) == 0, fmt.Sprint(missing, errText(err))
	})
	served := parseMetrics(t, page)
	for name, family := range served {
		if !strings.HasPrefix(name, "nestling_") {
			continue
		}
		require.Contains(t, want, name, "served, and not documented")
		requireAsDocumented(t, families.Of(name), family)
	}
	for _, name := range monitoring.Upstream() {
		if served[name] == nil {
			t.Logf("%s is not there yet; alerts or the dashboard ask for it", name)
		}
	}
	require.InDelta(t, end.Unix(), served[families.TenantExpiry].Metric[0].GetGauge().GetValue(), 1)
	problems, err := promlint.New(strings.NewReader(ours(page))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

func documented() []string {
	var out []string
	for _, family := range families.All() {
		out = append(out, family.Name)
	}
	return out
}

// requireAsDocumented also holds series to a number that does not grow with the tenant.
func requireAsDocumented(t *testing.T, want families.Family, family *dto.MetricFamily) {
	t.Helper()
	require.Equal(t, string(want.Type), strings.ToLower(family.GetType().String()), want.Name)
	require.Equal(t, want.Help, family.GetHelp(), want.Name)
	require.LessOrEqual(t, len(family.Metric), 400, "series of %s", want.Name)
	for _, metric := range family.Metric {
		var labels []string
		for _, label := range metric.Label {
			labels = append(labels, label.GetName())
		}
		require.ElementsMatch(t, want.Labels, labels, want.Name)
	}
}

func parseMetrics(t *testing.T, page string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	out, err := parser.TextToMetricFamilies(strings.NewReader(page))
	require.NoError(t, err)
	return out
}

// ours is the part of a page that is Nestling's own.
func ours(page string) string {
	var out strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), "nestling_") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func driftShows(t *testing.T, w *World) {
	ctx, space := t.Context(), namespace(t, w.A, "drift")
	virtual, err := w.A.Client.CoreV1().Services(space).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, Selector: map[string]string{"app": "web"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	repaired := func() float64 {
		raw, err := w.A.Client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		require.NoError(t, err)
		for _, metric := range parseMetrics(t, string(raw))[families.SyncDrift].GetMetric() {
			if metric.Label[0].GetValue() == "Service" && metric.Label[1].GetValue() == families.Repaired {
				return metric.GetCounter().GetValue()
			}
		}
		return 0
	}
	// An edit before it is adopted would be taken for a part of that.
	waitSynced(t, w, w.A, virtual)
	before := repaired()
	host := hostServiceOf(t, w, w.A, virtual)
	_, err = w.Host.CoreV1().Services(w.HostNamespace).Patch(ctx, host.Name, types.MergePatchType, []byte(`{"spec":{"selector":{"app":"another"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, "the repair", func(context.Context) (bool, string) {
		now := repaired()
		return now > before, fmt.Sprint(now)
	})
}

package access

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

func TestFormats(t *testing.T) {
	t.Parallel()
	token := Credential{User: "robot", Token: "secret"}
	certificate := Credential{User: "jane", Cert: []byte("cert"), Key: []byte("key")}
	for name, test := range map[string]struct {
		access Access
		want   map[string]string // by key, parts that are in it
	}{
		"a file with a certificate": {
			Access{Format: config.FormatKubeconfig, Credential: certificate},
			map[string]string{"config": "client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n"},
		},
		"Flux's key": {Access{Format: config.FormatFlux, Credential: token}, map[string]string{"value": "token: secret\n"}},
		"a cluster of Argo CD with a token": {
			Access{Format: config.FormatArgoCD, Credential: token},
			map[string]string{"name": "team-a", "server": "https://a.example:443", "config": `{"bearerToken":"secret","tlsClientConfig":{"caData":"Y2E="}}`},
		},
		"a cluster of Argo CD with a certificate": {
			Access{Format: config.FormatArgoCD, Credential: certificate},
			map[string]string{"name": "team-a", "server": "https://a.example:443", "config": `{"tlsClientConfig":{"caData":"Y2E=","certData":"Y2VydA==","keyData":"a2V5"}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access := test.access
			access.Cluster, access.Server, access.CA = "team-a", "https://a.example:443", []byte("ca")
			data, err := access.Data()
			require.NoError(t, err)
			require.ElementsMatch(t, keys(test.want), keys(data))
			for key, part := range test.want {
				require.Contains(t, string(data[key]), part)
			}
			if access.Format == config.FormatArgoCD {
				require.True(t, json.Valid(data["config"]))
				return
			}
			for _, text := range data {
				file, err := clientcmd.RESTConfigFromKubeConfig(text)
				require.NoError(t, err)
				require.Equal(t, "https://a.example:443", file.Host)
				require.Equal(t, []byte("ca"), file.CAData)
			}
		})
	}
}

func keys[V any](m map[string]V) []string {
	var out []string
	for key := range m {
		out = append(out, key)
	}
	return out
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const of = "tenants/team-a"
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	credential := Credential{Issued: issued, Expires: issued.Add(90 * 24 * time.Hour)}
	from := origin{Format: config.FormatFlux, Cluster: "team-a", Server: "https://a.example:443", User: "jane", Groups: []string{"dev"}}
	data := map[string][]byte{"value": []byte("file")}
	for name, test := range map[string]struct {
		change func(secret *corev1.Secret, wanted *origin)
		owned  bool
		after  time.Duration
		want   verdict
	}{
		"as it was made":                       {want: good},
		"a day before its time":                {after: 59 * 24 * time.Hour, want: good},
		"a third of its life is left":          {after: 60 * 24 * time.Hour, want: stale},
		"its life is over":                     {after: 900 * 24 * time.Hour, want: stale},
		"another address":                      {change: func(_ *corev1.Secret, wanted *origin) { wanted.Server = "https://b.example:443" }, want: stale},
		"another authority":                    {change: func(_ *corev1.Secret, wanted *origin) { wanted.CA = []byte("new") }, want: stale},
		"another group":                        {change: func(_ *corev1.Secret, wanted *origin) { wanted.Groups = nil }, want: stale},
		"a ServiceAccount made anew":           {change: func(_ *corev1.Secret, wanted *origin) { wanted.Holder = "u2" }, want: stale},
		"somebody changed the data":            {change: func(s *corev1.Secret, _ *origin) { s.Data["value"] = []byte("x") }, want: stale},
		"somebody added to the data":           {change: func(s *corev1.Secret, _ *origin) { s.Data["more"] = nil }, want: stale},
		"somebody changed the time":            {change: func(s *corev1.Secret, _ *origin) { s.Annotations[renewAnnotation] = "tomorrow" }, want: stale},
		"empty, as the manifests make it":      {change: func(s *corev1.Secret, _ *origin) { s.Data = nil; delete(s.Annotations, contentAnnotation) }, want: stale},
		"of another tenant":                    {change: func(s *corev1.Secret, _ *origin) { s.Annotations[deploy.KubeconfigOfAnnotation] = "tenants/team-b" }, want: foreign},
		"of nobody":                            {change: func(s *corev1.Secret, _ *origin) { s.Annotations = nil }, want: foreign},
		"manifests over somebody's":            {change: func(s *corev1.Secret, _ *origin) { delete(s.Annotations, contentAnnotation) }, want: foreign},
		"the anchor's, of before annotations":  {change: func(s *corev1.Secret, _ *origin) { s.Annotations = nil }, owned: true, want: stale},
		"the anchor's, without its annotation": {change: func(s *corev1.Secret, _ *origin) { delete(s.Annotations, deploy.KubeconfigOfAnnotation) }, owned: true, want: good},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Annotations: annotations(of, from, data, credential)},
				Data:       maps.Clone(data),
			}
			wanted := from
			if test.change != nil {
				test.change(secret, &wanted)
			}
			require.Equal(t, test.want, judge(secret, of, test.owned, wanted, issued.Add(test.after)))
		})
	}
}

// A key that a format before had would be a credential that nobody renews.
func TestReplacedDataLosesItsOldKeys(t *testing.T) {
	t.Parallel()
	patch, err := json.Marshal(replaced(map[string][]byte{"value": []byte("old")}, map[string][]byte{"config": []byte("new")}))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(`{"config":"bmV3","value":null}`, strings.TrimSpace(string(patch))))
}

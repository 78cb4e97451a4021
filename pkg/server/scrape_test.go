package server

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/pki"
)

func TestTheScrapeSecretIsKept(t *testing.T) {
	t.Parallel()
	now := time.Now()
	bundle, err := pki.New(now)
	require.NoError(t, err)
	other, err := pki.New(now)
	require.NoError(t, err)
	admin := func() map[string][]byte {
		cert, key, err := bundle.Issue(pki.Leaf{CommonName: "nestling:metrics", Organizations: []string{"system:masters"}, Client: true, Lifetime: scrapeLifetime})
		require.NoError(t, err)
		return map[string][]byte{"ca.crt": bundle.CAPEM(), "tls.crt": cert, "tls.key": key}
	}
	for name, test := range map[string]struct {
		change func(data map[string][]byte) map[string][]byte
		bundle *pki.Bundle
		after  time.Duration
		stays  bool
	}{
		"as it was made":                 {stays: true},
		"more than a third is left":      {after: scrapeLifetime - scrapeRenewal - time.Hour, stays: true},
		"a third of its life is left":    {after: scrapeLifetime - scrapeRenewal + time.Minute},
		"its life is over":               {after: 2 * scrapeLifetime},
		"another authority":              {bundle: other},
		"a key is missing":               {change: func(data map[string][]byte) map[string][]byte { delete(data, "tls.key"); return data }},
		"there is more":                  {change: func(data map[string][]byte) map[string][]byte { data["more"] = []byte("x"); return data }},
		"a certificate with groups":      {change: func(map[string][]byte) map[string][]byte { return admin() }},
		"a key of another certificate's": {change: func(data map[string][]byte) map[string][]byte { data["tls.key"] = admin()["tls.key"]; return data }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := fake.NewClientset()
			names := deploy.Names{Tenant: "team-a", Namespace: "tenants"}
			owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "team-a-anchor", UID: "anchor"}
			secrets := host.CoreV1().Secrets("tenants")
			keep := func(bundle *pki.Bundle, now time.Time) time.Time {
				expires, err := keepScrapeSecret(t.Context(), host, names, owner, bundle, now)
				require.NoError(t, err)
				return expires
			}
			read := func() *corev1.Secret {
				secret, err := secrets.Get(t.Context(), "team-a-metrics", metav1.GetOptions{})
				require.NoError(t, err)
				return secret
			}
			expires := keep(bundle, now)
			require.WithinDuration(t, now.Add(scrapeLifetime), expires, time.Minute)
			before := read()
			require.Equal(t, []metav1.OwnerReference{owner}, before.OwnerReferences)
			require.Equal(t, "team-a", before.Labels[deploy.ControlPlaneLabel])
			if test.change != nil {
				before.Data = test.change(maps.Clone(before.Data))
				_, err := secrets.Update(t.Context(), before, metav1.UpdateOptions{})
				require.NoError(t, err)
			}
			if test.bundle == nil {
				test.bundle = bundle
			}
			writes := len(host.Actions())
			keep(test.bundle, now.Add(test.after))
			after := read()
			require.Equal(t, test.stays, len(host.Actions()) == writes+2, "it is read, and nothing is written")
			if test.after < scrapeLifetime { // certificates are issued as of now
				_, good := judgeScrapeSecret(after.Data, test.bundle, now)
				require.True(t, good)
			}
		})
	}
}

func TestASecretThatIsNotOursIsNoScrapeSecret(t *testing.T) {
	t.Parallel()
	host := fake.NewClientset()
	names := deploy.Names{Tenant: "team-a", Namespace: "tenants"}
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "team-a-metrics", UID: "u"}, Data: map[string][]byte{"a": []byte("b")}}
	_, err := host.CoreV1().Secrets("tenants").Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	_, err = keepScrapeSecret(t.Context(), host, names, metav1.OwnerReference{UID: types.UID("anchor")}, bundle, time.Now())
	require.EqualError(t, err, "host Secret tenants/team-a-metrics is not this tenant's: remove it, or turn metrics.scrapeSecret off")
	after, err := host.CoreV1().Secrets("tenants").Get(t.Context(), "team-a-metrics", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, theirs.Data, after.Data)
}

func TestDataIsReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(replacedData(map[string][]byte{"a": []byte("x"), "b": nil}, map[string][]byte{"b": []byte("y")}))
	require.NoError(t, err)
	require.JSONEq(t, `{"a":null,"b":"eQ=="}`, string(text))
}

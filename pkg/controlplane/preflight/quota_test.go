package preflight

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/syncer/resource"
)

func podCount(count int) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourcePods: *apiresource.NewQuantity(int64(count), apiresource.DecimalSI)}
}

func quotaOf(hard, used int) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "host", Name: "limits"},
		Spec:       corev1.ResourceQuotaSpec{Hard: podCount(hard)},
		Status:     corev1.ResourceQuotaStatus{Hard: podCount(hard), Used: podCount(used)},
	}
}

type filled struct{ cache.Store }

func (f filled) GetStore() cache.Store { return f.Store }

func (f filled) HasSynced() bool { return true }

func quotasOf(tb testing.TB, limits *corev1.ResourceQuota) *Quotas {
	tb.Helper()
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	require.NoError(tb, store.Add(limits))
	return NewQuotas(filled{store}, time.Now)
}

func hostPod(i int, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i), UID: types.UID(fmt.Sprint(i))},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

// Upstream's quota controller writes down what it has seen, and so for a while fewer pods than
// admission has let in: what the host lets pass then it refuses a moment later.
func TestAHostThatCountsTooFewIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quotas := quotasOf(t, quotaOf(3, 2))
		w := &world{onHost: []resource.Object{hostPod(1, corev1.PodRunning), hostPod(2, corev1.PodRunning), hostPod(3, corev1.PodRunning), hostPod(4, corev1.PodSucceeded)}}
		full := status(403, metav1.StatusReasonForbidden, `pods "p" is forbidden: exceeded quota: limits`)
		judge := func(answers ...error) error {
			w.asked.Store(0)
			w.answer = func(context.Context) error { return answers[min(int(w.asked.Load()), len(answers))-1] }
			host := NewHost(HostOptions{Quotas: quotas, Translator: func() Translator { return w }, Now: time.Now})
			_, refusal := host.Judge(t.Context(), on("p"))
			return refusal
		}
		require.ErrorContains(t, judge(nil, nil, full), "exceeded quota", "the host has counted again")
		require.EqualValues(t, 3, w.asked.Load())

		start := time.Now()
		require.NoError(t, judge(nil), "a host that stays with it has the last word")
		require.Equal(t, turnTimeout, time.Since(start))

		w.onHost, quotas = w.onHost[1:], quotasOf(t, quotaOf(3, 2))
		require.NoError(t, judge(nil))
		require.EqualValues(t, 1, w.asked.Load(), "it fits")
	})
}

func TestQuotasCountWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quotas := quotasOf(t, quotaOf(3, 0))
		var own []*corev1.Pod
		landed := false
		depart := func(i int) bool {
			return quotas.Depart(types.UID(fmt.Sprint(i)), hostPod(i, ""), func() bool { return landed }, func() []*corev1.Pod { return own })
		}
		require.True(t, depart(1))
		require.True(t, depart(2))
		own = append(own, hostPod(3, ""))
		require.False(t, depart(4), "two under way, and one there that no status counts")
		landed = true
		own = append(own, hostPod(1, ""), hostPod(2, ""))
		require.False(t, depart(4), "three there")
		own = own[1:]
		require.True(t, depart(4), "who is there is not counted twice")
	})
}

// BenchmarkDepart is one more pod of a cluster that has a thousand.
func BenchmarkDepart(b *testing.B) {
	quotas := quotasOf(b, quotaOf(1_000_000, 0))
	var own []*corev1.Pod
	for i := range 1000 {
		own = append(own, hostPod(i, corev1.PodRunning))
	}
	for b.Loop() {
		require.True(b, quotas.Depart("new", hostPod(0, ""), func() bool { return true }, func() []*corev1.Pod { return own }))
	}
}

package preflight

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/resource"
)

func pods() schema.GroupResource { return corev1.Resource("pods") }

func status(code int32, reason metav1.StatusReason, message string) error {
	return fmt.Errorf("try to create: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}})
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want outcome
	}{
		"taken":                                {nil, passes},
		"quota":                                {status(403, "Forbidden", `pods "p" is forbidden: exceeded quota: q`), refused},
		"validation":                           {status(422, "Invalid", `Pod "p" is invalid`), refused},
		"a webhook, with the code it likes":    {status(500, "", `admission webhook "w" denied the request: no`), refused},
		"a webhook that says conflict":         {status(409, "Conflict", `admission webhook "w" denied the request: no`), refused},
		"a webhook that knows no dry run":      {status(400, "BadRequest", `admission webhook "w" does not support dry run`), untold},
		"a webhook that does not answer":       {status(500, "InternalError", `failed calling webhook "w"`), untold},
		"too large":                            {status(413, "RequestEntityTooLarge", `too large`), refused},
		"the name is taken":                    {apierrors.NewAlreadyExists(pods(), "p"), passes},
		"the host object changed, or went":     {apierrors.NewConflict(pods(), "p", errors.New("uid")), passes},
		"the host object is gone":              {apierrors.NewNotFound(pods(), "p"), passes},
		"our own rights":                       {status(403, "Forbidden", `pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods" in API group "" in the namespace "a"`), untold},
		"our own credentials":                  {apierrors.NewUnauthorized("no"), untold},
		"later":                                {apierrors.NewTooManyRequests("later", 1), absent},
		"not now":                              {apierrors.NewServiceUnavailable("no"), absent},
		"no answer":                            {&url.Error{Op: "Post", URL: "https://host", Err: errors.New("connection refused")}, absent},
		"no answer in time":                    {fmt.Errorf("x: %w", context.DeadlineExceeded), absent},
		"the tenant's client does not wait":    {context.Canceled, untold},
		"the host namespace is on its way out": {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 403, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}}}, untold},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, verdictOf(test.err))
		})
	}
}

// world is a host that answers as told.
type world struct {
	verdict   atomic.Value // the last that was observed
	asked     atomic.Int64
	answer    func(ctx context.Context) error
	warnings  []string
	rejection error
	onHost    []resource.Object
}

func (w *world) Tries(schema.GroupResource) (schema.GroupVersion, bool) {
	return corev1.SchemeGroupVersion, true
}

func (w *world) Arrived(schema.GroupResource, resource.Object) bool { return true }

func (w *world) HostObjects(schema.GroupResource) []resource.Object { return w.onHost }

func (w *world) Trials(_ context.Context, _ schema.GroupResource, virtual, _ resource.Object) ([]Trial, error) {
	if w.rejection != nil {
		return nil, w.rejection
	}
	return []Trial{trial{w, virtual}}, nil
}

type trial struct {
	*world
	virtual resource.Object
}

func (t trial) Words(text string) string { return strings.ReplaceAll(text, "secret", "own") }

func (t trial) Do(ctx context.Context) (resource.Object, []string, error) {
	t.asked.Add(1)
	return t.virtual, t.warnings, t.answer(ctx)
}

func (w *world) judge() *Host {
	return NewHost(HostOptions{
		Translator: func() Translator { return w },
		Observe:    func(_ schema.GroupResource, verdict string, _ time.Duration) { w.verdict.Store(verdict) },
	})
}

func on(name string) Object {
	return Object{Resource: pods(), Virtual: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n"}}}
}

func TestARefusalIsTheHostsInTheTenantsWords(t *testing.T) {
	t.Parallel()
	w := &world{warnings: []string{"secret warning"}, answer: func(context.Context) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid, Message: "secret is no name",
			Details: &metav1.StatusDetails{Name: "secret", UID: "host", Causes: []metav1.StatusCause{{Message: "secret cause", Field: "spec"}}},
		}}
	}}
	warnings, err := w.judge().Judge(t.Context(), on("p"))
	require.Equal(t, []string{"own warning"}, warnings)
	var refusal *apierrors.StatusError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, metav1.Status{
		Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid, Message: "own is no name",
		Details: &metav1.StatusDetails{Name: "own", Causes: []metav1.StatusCause{{Message: "own cause", Field: "spec"}}},
	}, refusal.ErrStatus)
	require.Equal(t, "refused", w.verdict.Load())
}

func TestWhatWillNeverBeTranslatedIsRefused(t *testing.T) {
	t.Parallel()
	w := &world{rejection: resource.Rejectf("Why", "no such volumes here")}
	_, err := w.judge().Judge(t.Context(), on("p"))
	require.True(t, apierrors.IsForbidden(err))
	require.EqualError(t, err, `pods "p" is forbidden: no such volumes here`)
	w.rejection = errors.New("not yet")
	_, err = w.judge().Judge(t.Context(), on("p"))
	require.NoError(t, err)
}

func TestWithoutASyncerAllPasses(t *testing.T) {
	t.Parallel()
	host := NewHost(HostOptions{Translator: func() Translator { return nil }})
	_, ok := host.Version(pods())
	require.False(t, ok)
	_, err := host.Judge(t.Context(), on("p"))
	require.NoError(t, err)
}

func TestTheHostIsNotAskedAboutSome(t *testing.T) {
	t.Parallel()
	host := (&world{}).judge()
	_, ok := host.Version(corev1.Resource("secrets"))
	require.False(t, ok)
	_, ok = host.Version(pods())
	require.True(t, ok)
}

// An outage costs the first requests their patience, and those after them nothing.
func TestAnOutageDoesNotSlowEveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		host := w.judge()
		ask := func() time.Duration {
			start := time.Now()
			_, err := host.Judge(t.Context(), on("p"))
			require.NoError(t, err, "nothing is refused")
			return time.Since(start)
		}
		for range failures {
			require.Equal(t, askTimeout, ask())
		}
		for range 10 {
			require.Zero(t, ask())
			require.Equal(t, "absent", w.verdict.Load())
		}
		require.EqualValues(t, failures, w.asked.Load())

		time.Sleep(pause)
		var group sync.WaitGroup
		for range 10 { // one of them finds out
			group.Go(func() { ask() })
		}
		group.Wait()
		require.EqualValues(t, failures+1, w.asked.Load())

		time.Sleep(pause)
		w.answer = func(context.Context) error { return nil }
		require.Zero(t, ask())
		require.Zero(t, ask())
		require.EqualValues(t, failures+3, w.asked.Load(), "and when it answers, it is asked as before")
		require.Equal(t, "passed", w.verdict.Load())
	})
}

// What makes the host slow may be this one object.
func TestOneThatTakesTooLongOpensTheGateForNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		host := w.judge()
		for range 10 {
			w.answer = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			_, err := host.Judge(t.Context(), on("slow"))
			require.NoError(t, err)
			w.answer = func(context.Context) error { return status(403, metav1.StatusReasonForbidden, "no") }
			_, err = host.Judge(t.Context(), on("p"))
			require.Error(t, err)
		}
	})
}

func TestAWebhookThatKnowsNoDryRunWarns(t *testing.T) {
	t.Parallel()
	w := &world{answer: func(context.Context) error {
		return status(400, metav1.StatusReasonBadRequest, `admission webhook "secret.example" does not support dry run`)
	}}
	warnings, err := w.judge().Judge(t.Context(), on("p"))
	require.NoError(t, err)
	require.Equal(t, []string{"the host cluster could not tell in advance whether it will take this; if it does not, an event says so"}, warnings)
}

func TestVerdictsServeSiblingsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		verdicts := newVerdicts(time.Now)
		asked := atomic.Int64{}
		out := answer{outcome: passes, warnings: []string{"w"}}
		ask := func() answer {
			asked.Add(1)
			time.Sleep(10 * time.Millisecond)
			return out
		}
		many := func() {
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() { require.Equal(t, out, verdicts.Get(t.Context(), "key", ask)) })
			}
			group.Wait()
		}
		many()
		require.EqualValues(t, 1, asked.Load())
		verdicts.Get(t.Context(), "other", ask)
		verdicts.Get(t.Context(), "", ask)
		require.EqualValues(t, 3, asked.Load())
		time.Sleep(reuseFor + time.Second)
		many()
		require.EqualValues(t, 4, asked.Load())

		time.Sleep(reuseFor + time.Second)
		out = answer{outcome: refused, refusal: errors.New("no")}
		many()
		require.EqualValues(t, 54, asked.Load(), "a refusal is everybody's own")
	})
}

func TestVerdictsAreBounded(t *testing.T) {
	t.Parallel()
	verdicts := newVerdicts(time.Now)
	for i := range 10 * verdictsMost {
		verdicts.Get(t.Context(), fmt.Sprint(i), func() answer { return answer{outcome: passes} })
	}
	require.LessOrEqual(t, len(verdicts.entries), verdictsMost)
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	replica := func(name string, change func(*corev1.Pod)) string {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "n", Name: name, UID: "uid-of-" + "x", Labels: map[string]string{"app": "web", "pod-name": name},
				OwnerReferences: []metav1.OwnerReference{{UID: "set", Controller: new(true)}},
			},
			Spec: corev1.PodSpec{Hostname: name, Containers: []corev1.Container{{Name: "c", Image: "i"}}, Volumes: []corev1.Volume{{Name: "kube-api-access-" + name[len(name)-5:]}}},
		}
		if change != nil {
			change(pod)
		}
		return fingerprint(pod)
	}
	one := replica("web-abcde", nil)
	require.Equal(t, one, replica("web-fghij", nil), "siblings")
	for name, change := range map[string]func(*corev1.Pod){
		"another image":      func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "j" },
		"another label":      func(pod *corev1.Pod) { pod.Labels["more"] = "x" },
		"another namespace":  func(pod *corev1.Pod) { pod.Namespace = "m" },
		"another controller": func(pod *corev1.Pod) { pod.OwnerReferences[0].UID = "other" },
	} {
		require.NotEqual(t, one, replica("web-fghij", change), name)
	}
	bare := func(name, image string) string {
		return fingerprint(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}})
	}
	require.Equal(t, bare("a", "x"), bare("b", "x"))
	require.NotEqual(t, bare("a", "a"), bare("b", "b"), "the name of a pod without family stands for nothing else")
}

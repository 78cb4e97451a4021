package tokens

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	k8stesting "k8s.io/client-go/testing"

	"nestling.dev/nestling/syncer/resource"
)

func TestATokenIsWhatThePodAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.see(podWith("uid-1", hour(), corev1.ServiceAccountTokenProjection{Path: "vault", Audience: "vault", ExpirationSeconds: new(int64(600))}))
	w.sync()
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "web-0", UID: "uid-1"}
	want := []authenticationv1.TokenRequestSpec{
		{ExpirationSeconds: new(int64(3600)), BoundObjectRef: bound},
		{ExpirationSeconds: new(int64(600)), BoundObjectRef: bound, Audiences: []string{"vault"}},
	}
	if diff := cmp.Diff(want, w.requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	wantSecret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: secretName, Namespace: "tenants", UID: "secret-1",
			Labels: map[string]string{resource.LabelTenant: "team-a", resource.LabelNamespace: "default"},
			Annotations: map[string]string{
				resource.AnnotationNamespace: "default", resource.AnnotationName: "web-0", resource.AnnotationUID: "uid-1",
				resource.AnnotationKind: "Pod/tokens", resource.AnnotationIdentity: "identity-1",
				annotationLifetimes: `{"access.0":{"issued":"2026-01-02T03:04:05Z","expires":"2026-01-02T04:04:05Z"},` +
					`"access.1":{"issued":"2026-01-02T03:04:05Z","expires":"2026-01-02T03:14:05Z"}}`,
			},
			OwnerReferences: []metav1.OwnerReference{env().Owner},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"access.0": []byte("token-1"), "access.1": []byte("token-2")},
	}
	secret := w.secret()
	secret.TypeMeta, secret.ManagedFields = metav1.TypeMeta{}, nil
	if diff := cmp.Diff(wantSecret, secret); diff != "" {
		t.Errorf("host secret (-want +got):\n%s", diff)
	}
}

func TestATokenIsRenewedInPlaceAtFourFifthsOfItsLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.see(podWith("uid-1", hour()))
	again := w.sync()
	w.catchUp()
	require.GreaterOrEqual(t, again, 45*time.Minute, "not earlier than 80 % less the jitter of 5 %")
	require.LessOrEqual(t, again, 48*time.Minute)

	w.clock.Step(again - time.Second)
	require.Equal(t, time.Second, w.sync())
	require.Len(t, w.requests, 1, "a token that is good is left alone")

	w.clock.Step(time.Second)
	require.Equal(t, again, w.sync(), "the life of the new token begins now")
	require.Equal(t, map[string]string{"access.0": "token-2"}, values(w.secret()))
	require.Equal(t, "secret-1", string(w.secret().UID))
	w.counts(changeMade, outcomeOK, 1)
	w.counts(changeRenewed, outcomeOK, 1)
}

func TestATokenIsNeverRenewedAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, uid := range []types.UID{"uid-1", "uid-2", "uid-3", "uid-4"} { // the jitter differs
		life := lifetime{Issued: now, Expires: now.Add(10 * time.Minute)}
		wait := life.renewal(0.01, uid).Sub(now)
		require.GreaterOrEqual(t, wait, 5*time.Second, "the jitter is a part of the time until then")
		require.LessOrEqual(t, wait, 6*time.Second)
	}
}

func TestTheLifeThatWasGrantedCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.granted = 10 * time.Minute
	w.see(podWith("uid-1", hour()))
	require.LessOrEqual(t, w.sync(), 8*time.Minute)
}

func TestALongLifeIsRenewedEachDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.granted = 365 * 24 * time.Hour
	w.see(podWith("uid-1", hour()))
	require.LessOrEqual(t, w.sync(), 24*time.Hour)
}

func TestARestartMakesNothingAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.see(podWith("uid-1", hour()))
	again := w.sync()
	w.catchUp()
	w.clock.Step(10 * time.Minute)
	w.restart()
	require.Equal(t, again-10*time.Minute, w.sync())
	require.Len(t, w.requests, 1)
}

func TestALookBeforeTheCacheCatchesUpAsksForNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.see(podWith("uid-1", hour()))
	w.sync()
	require.LessOrEqual(t, w.sync(), cacheLag, "it looks again soon: the secret may be gone already")
	require.Len(t, w.requests, 1)
	w.clock.Step(cacheLag + time.Second)
	w.sync()
	require.Len(t, w.requests, 2, "a cache that never shows the secret is believed in the end")
}

func TestANamesakeGetsTokensOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.see(podWith("uid-1", hour(), hour()))
	w.sync()
	w.catchUp()
	w.see(podWith("uid-2", hour()))
	w.sync()
	require.Equal(t, map[string]string{"access.0": "token-3"}, values(w.secret()))
	require.Equal(t, "uid-2", w.secret().Annotations[resource.AnnotationUID])
}

func TestTokensEndWithTheirPod(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, pod *corev1.Pod){
		"gone":      func(w *world, pod *corev1.Pod) { w.unsee(pod) },
		"failed":    func(w *world, pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed; w.see(pod) },
		"succeeded": func(w *world, pod *corev1.Pod) { pod.Status.Phase = corev1.PodSucceeded; w.see(pod) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			pod := podWith("uid-1", hour())
			w.see(pod)
			w.sync()
			w.catchUp()
			end(w, pod.DeepCopy())
			require.Zero(t, w.sync())
			require.Nil(t, w.secret())
			w.counts(changeDropped, outcomeOK, 1)
		})
	}
}

func TestAPodThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := podWith("uid-1", hour())
	pod.DeletionTimestamp = &metav1.Time{Time: start}
	w.see(pod)
	require.Zero(t, w.sync())
	require.Nil(t, w.secret(), "gets no tokens if it has none")

	pod = podWith("uid-1", hour())
	w.see(pod)
	again := w.sync()
	w.catchUp()
	pod = pod.DeepCopy()
	pod.DeletionTimestamp = &metav1.Time{Time: start}
	w.see(pod)
	w.clock.Step(again)
	w.sync()
	require.Equal(t, map[string]string{"access.0": "token-2"}, values(w.secret()), "keeps good ones as long as it takes")
}

func TestWhatSomebodyTookAwayIsRepaired(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*corev1.Secret){
		"a token":       func(s *corev1.Secret) { delete(s.Data, "access.0") },
		"the lifetimes": func(s *corev1.Secret) { delete(s.Annotations, annotationLifetimes) },
		"our label":     func(s *corev1.Secret) { s.Labels = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.see(podWith("uid-1", hour()))
			w.sync()
			w.catchUp()
			w.sync()
			secret := w.secret()
			harm(secret)
			_, err := w.host.CoreV1().Secrets("tenants").Update(t.Context(), secret, metav1.UpdateOptions{})
			require.NoError(t, err)
			w.catchUp()
			if secret.Labels == nil {
				require.NoError(t, w.secrets.GetStore().Delete(secret)) // the cache selects by it
			}
			w.sync()
			require.Equal(t, map[string]string{"access.0": "token-2"}, values(w.secret()))
			require.Equal(t, "team-a", w.secret().Labels[resource.LabelTenant])
			require.NotEmpty(t, w.secret().Annotations[annotationLifetimes])
		})
	}
}

func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: secretName}, Data: map[string][]byte{"a": []byte("b")}}
	_, err := w.host.CoreV1().Secrets("tenants").Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	pod := podWith("uid-1", hour())
	w.see(pod)
	_, err = w.trySync()
	require.ErrorContains(t, err, "is not ours")
	require.NotContains(t, err.Error(), "token-1", "tokens are never logged")
	require.Contains(t, <-w.events.Events, "HostNameTaken")
	w.catchUp()
	w.unsee(pod)
	w.sync()
	require.Equal(t, map[string]string{"a": "b"}, values(w.secret()))
}

func TestAFailureLeavesNothingHalfMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.see(podWith("uid-1", hour()))
	w.fail = errors.New("no such account")
	_, err := w.trySync()
	require.ErrorContains(t, err, "request token of service account builder for volume access: no such account")
	require.Nil(t, w.secret())

	w.fail = nil
	again := w.sync()
	w.catchUp()
	w.clock.Step(again)
	w.fail = errors.New("busy")
	_, err = w.trySync()
	require.ErrorContains(t, err, "busy")
	require.Equal(t, map[string]string{"access.0": "token-1"}, values(w.secret()), "the old token has a fifth of its life left")
	w.counts(changeMade, outcomeError, 1)
	w.counts(changeRenewed, outcomeError, 1)
}

func TestThatTheHostTakesNoTokensIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := apierrors.NewForbidden(corev1.Resource("secrets"), secretName, errors.New("exceeded quota"))
	w.host.PrependReactor("create", "secrets", func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, refused })
	var told []error
	w.controller.options.Failed = func(_ context.Context, pod *corev1.Pod, err error) {
		require.Equal(t, "web-0", pod.Name)
		told = append(told, err)
	}
	w.see(podWith("pod-1", corev1.ServiceAccountTokenProjection{Path: "token"}))
	_, err := w.trySync()
	require.ErrorIs(t, err, refused)
	require.Equal(t, []error{refused}, told)
}

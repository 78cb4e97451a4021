package stories

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
)

// classes is what pods may have of the host: its order of importance, its runtimes, and
// identities that it gives meaning to.
func classes() []Story {
	return []Story{
		{Name: "a priority class of the host counts in the tenant and on the host", Run: hostPriority},
		{Name: "no pod of a tenant is as important as the host's own", Run: systemPriority},
		{Name: "a pod that gives way says so in the tenant's words", Run: preemption},
		{Name: "a runtime class of the host is one of the tenant's", Run: runtimeClass},
		{Name: "pods run as host ServiceAccounts of their own where the operator lets them", Run: workloadIdentity},
	}
}

// hostClass makes a priority class on the host and waits for its mirror.
func hostClass(t *testing.T, w *World, tenant *Tenant, value int32) string {
	t.Helper()
	class, err := w.Host.SchedulingV1().PriorityClasses().Create(t.Context(),
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-host-"}, Value: value}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.Host.SchedulingV1().PriorityClasses().Delete(context.Background(), class.Name, metav1.DeleteOptions{})
	})
	eventually(t, "the class in the tenant", func(ctx context.Context) (bool, string) {
		seen, err := tenant.Client.SchedulingV1().PriorityClasses().Get(ctx, class.Name, metav1.GetOptions{})
		return err == nil && seen.Value == value, errText(err)
	})
	waitClass(t, w, tenant, class.Name)
	return class.Name
}

// waitClass waits until a pod may have a priority class: admission, on both sides, knows
// classes from a cache.
func waitClass(t *testing.T, w *World, tenant *Tenant, class string) {
	t.Helper()
	pod := decode[corev1.Pod](t, w, `
metadata: {name: any}
spec: {priorityClassName: `+class+`, containers: [{name: main, image: IMAGE}]}
`)
	eventually(t, "pods may have the class", func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil, errText(err)
	})
}

func hostPriority(t *testing.T, w *World) {
	space := namespace(t, w.A, "host-priority")
	class := hostClass(t, w, w.A, 4711)
	pod := runPod(t, w, w.A, space, `
metadata: {name: important}
spec: {priorityClassName: `+class+`, containers: [{name: main, image: IMAGE}]}
`)
	host := hostPodOf(t, w, w.A, pod)
	require.Equal(t, class, host.Spec.PriorityClassName)
	require.EqualValues(t, 4711, *pod.Spec.Priority)
	require.EqualValues(t, 4711, *host.Spec.Priority)
	if w.Namespaced == nil {
		return
	}
	// Where classes can't be read, none is offered; a class of the tenant's own does not help.
	_, err := w.Namespaced.Client.SchedulingV1().PriorityClasses().Get(t.Context(), class, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	_, err = w.Namespaced.Client.SchedulingV1().PriorityClasses().Create(t.Context(),
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Value: 5}, metav1.CreateOptions{})
	require.NoError(t, err)
	waitClass(t, w, w.Namespaced, class)
	pod = runPod(t, w, w.Namespaced, namespace(t, w.Namespaced, "host-priority"), `
metadata: {name: important}
spec: {priorityClassName: `+class+`, containers: [{name: main, image: IMAGE}]}
`)
	require.Empty(t, hostPodOf(t, w, w.Namespaced, pod).Spec.PriorityClassName)
}

// systemPriority is an attack: with such a class a pod displaces anybody's.
func systemPriority(t *testing.T, w *World) {
	space := namespace(t, w.A, "system-priority")
	for _, class := range []string{"system-cluster-critical", "system-node-critical"} {
		pod := runPod(t, w, w.A, space, `
metadata: {name: `+class+`}
spec: {priorityClassName: `+class+`, containers: [{name: main, image: IMAGE}]}
`)
		require.Greater(t, *pod.Spec.Priority, int32(1_000_000_000), "it is what it says in the tenant")
		host := hostPodOf(t, w, w.A, pod)
		require.Empty(t, host.Spec.PriorityClassName)
		require.Zero(t, *host.Spec.Priority)
	}
}

func preemption(t *testing.T, w *World) {
	space := namespace(t, w.A, "preemption")
	low, high := hostClass(t, w, w.A, -100), hostClass(t, w, w.A, -50) // below all pods of other stories
	name := nodeNames(t, w)[0]
	free := hostNode(t, w, name).Status.Allocatable.Memory().Value()
	half := apiQuantity(free * 6 / 10) // no node has room for two
	template := func(pod, class string) string {
		return `
metadata: {name: ` + pod + `}
spec:
  priorityClassName: ` + class + `
  nodeSelector: {kubernetes.io/hostname: ` + name + `}
  containers: [{name: main, image: IMAGE, command: IDLE, resources: {requests: {memory: "` + half + `"}}}]
`
	}
	victim := runPod(t, w, w.A, space, template("victim", low))
	seen := watchPods(t, w.A, space)
	winner := createPod(t, w, w.A, space, template("winner", high))
	gone := seen.find(t, victim.UID, "is on its way out", func(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil })
	event := waitEvent(t, w.A, space, "victim", "Preempted", "Preempted by pod "+string(winner.UID))
	require.Equal(t, corev1.ConditionTrue, condition(gone, corev1.DisruptionTarget))
	waitPod(t, w.A, space, "winner", "has the place", isReady)
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, winner), event.Message+asJSON(gone.Status))
}

func runtimeClass(t *testing.T, w *World) {
	space := namespace(t, w.A, "runtime")
	handler := "story"
	if w.Real {
		handler = "runc" // that node's only runtime
	}
	class, err := w.Host.NodeV1().RuntimeClasses().Create(t.Context(), decode[nodev1.RuntimeClass](t, w, `
metadata: {generateName: story-}
handler: `+handler+`
overhead: {podFixed: {memory: 8Mi}}
scheduling:
  nodeSelector: {kubernetes.io/os: linux}
  tolerations: [{key: story.example.com/sandbox, operator: Exists}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.Host.NodeV1().RuntimeClasses().Delete(context.Background(), class.Name, metav1.DeleteOptions{})
	})
	eventually(t, "the class in the tenant", func(ctx context.Context) (bool, string) {
		_, err := w.A.Client.NodeV1().RuntimeClasses().Get(ctx, class.Name, metav1.GetOptions{})
		return err == nil, errText(err)
	})
	pod := runPod(t, w, w.A, space, `
metadata: {name: sandboxed}
spec: {runtimeClassName: `+class.Name+`, containers: [{name: main, image: IMAGE}]}
`)
	host := hostPodOf(t, w, w.A, pod)
	require.Equal(t, class.Name, *host.Spec.RuntimeClassName)
	require.Equal(t, pod.Spec.Overhead, host.Spec.Overhead, "once, on either side")
	require.Equal(t, "8Mi", host.Spec.Overhead.Memory().String())
	require.Equal(t, "linux", host.Spec.NodeSelector["kubernetes.io/os"])

	// One of the tenant's own stands for the host's with its handler, and for no other.
	own := func(handler string) string {
		t.Helper()
		own, err := w.A.Client.NodeV1().RuntimeClasses().Create(t.Context(),
			&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-own-"}, Handler: handler}, metav1.CreateOptions{})
		require.NoError(t, err)
		t.Cleanup(func() {
			_ = w.A.Client.NodeV1().RuntimeClasses().Delete(context.Background(), own.Name, metav1.DeleteOptions{})
		})
		return own.Name
	}
	same := runPod(t, w, w.A, space, `
metadata: {name: same}
spec: {runtimeClassName: `+own(handler)+`, containers: [{name: main, image: IMAGE}]}
`)
	require.Equal(t, class.Name, *hostPodOf(t, w, w.A, same).Spec.RuntimeClassName)
	unknown := own("nobody")
	eventually(t, "a refusal", func(ctx context.Context) (bool, string) {
		// At once where the host is asked first, by an event otherwise.
		_, err := w.A.Client.CoreV1().Pods(space).Create(ctx, decode[corev1.Pod](t, w, `
metadata: {name: nowhere}
spec: {runtimeClassName: `+unknown+`, containers: [{name: main, image: IMAGE}]}
`), metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			return true, ""
		}
		events, listErr := w.A.Client.CoreV1().Events(space).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=nowhere,reason=HostRejected"})
		return listErr == nil && len(events.Items) > 0, errText(err) + errText(listErr)
	})
}

func workloadIdentity(t *testing.T, w *World) {
	if w.Namespaced == nil {
		t.Skip("no tenant of this world has identities")
	}
	tenant, space := w.Namespaced, namespace(t, w.Namespaced, "identity")
	_, err := tenant.Client.CoreV1().ServiceAccounts(space).Create(t.Context(), decode[corev1.ServiceAccount](t, w, `
metadata: {name: uploader, annotations: {stories.example.com/role: up}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	pod := runPod(t, w, tenant, space, `
metadata: {name: upload}
spec: {serviceAccountName: uploader, containers: [{name: main, image: IMAGE}]}
`)
	host := hostPodOf(t, w, tenant, pod)
	require.Equal(t, naming.Host(tenant.Name, space, "uploader"), host.Spec.ServiceAccountName)
	require.False(t, *host.Spec.AutomountServiceAccountToken)
	accounts := w.Host.CoreV1().ServiceAccounts(w.HostNamespace)
	account, err := accounts.Get(t.Context(), host.Spec.ServiceAccountName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "up", account.Annotations["stories.example.com/role"])
	for _, resource := range []string{"pods", "secrets"} {
		review, err := w.Host.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User:               "system:serviceaccount:" + w.HostNamespace + ":" + account.Name,
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: w.HostNamespace, Verb: "list", Resource: resource},
			},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.False(t, review.Status.Allowed, "it has no rights of its own")
	}
	// What a tenant calls a ServiceAccount has nothing to do with what the host calls one.
	_, err = tenant.Client.CoreV1().ServiceAccounts(space).Create(t.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: tenant.Name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	thief := runPod(t, w, tenant, space, `
metadata: {name: thief}
spec: {serviceAccountName: `+tenant.Name+`, containers: [{name: main, image: IMAGE}]}
`)
	require.NotEqual(t, tenant.Name, hostPodOf(t, w, tenant, thief).Spec.ServiceAccountName)
	require.NoError(t, tenant.Client.CoreV1().Pods(space).Delete(t.Context(), "upload", metav1.DeleteOptions{}))
	eventually(t, "the end of an account that no pod runs as", func(ctx context.Context) (bool, string) {
		_, err := accounts.Get(ctx, account.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
}

package resources

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources/golden"
)

func TestPriorityClasses(t *testing.T) { t.Parallel(); golden.Run(t, PriorityClasses()) }
func TestRuntimeClasses(t *testing.T)  { t.Parallel(); golden.Run(t, RuntimeClasses()) }
func TestDeviceClasses(t *testing.T)   { t.Parallel(); golden.Run(t, DeviceClasses()) }
func TestResourceSlices(t *testing.T)  { t.Parallel(); golden.Run(t, ResourceSlices()) }
func TestResourceClaims(t *testing.T)  { t.Parallel(); golden.Run(t, ResourceClaims()) }
func TestServiceAccounts(t *testing.T) { t.Parallel(); golden.Run(t, ServiceAccounts()) }

// hostWithClasses has a class for tenants and one that is not for them, of both kinds.
func hostWithClasses() *golden.World {
	offered := func(name, value string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{"tenants": value}}
	}
	return &golden.World{HostObjects: []resource.Object{
		&schedulingv1.PriorityClass{ObjectMeta: offered("paying", "yes"), Value: 1000},
		&schedulingv1.PriorityClass{ObjectMeta: offered("platform", "no"), Value: 900000},
		&nodev1.RuntimeClass{ObjectMeta: offered("sandboxed", "yes"), Handler: "runsc"},
		&nodev1.RuntimeClass{ObjectMeta: offered("bare", "no"), Handler: "runc"},
	}}
}

func forTenants(t *testing.T) labels.Selector {
	t.Helper()
	selector, err := labels.Parse("tenants=yes")
	require.NoError(t, err)
	return selector
}

func TestAPodHasOnlyThePriorityThatTheOperatorOffers(t *testing.T) {
	t.Parallel()
	selective := resource.Policy{PriorityClasses: forTenants(t)}
	reject := resource.Policy{PriorityClasses: forTenants(t), RejectPriorityClasses: true}
	for name, test := range map[string]struct {
		policy resource.Policy
		class  string
		want   string
		reason string
	}{
		"no class is none":                                      {},
		"a class of the host goes by its name":                  {class: "paying", want: "paying"},
		"every class is offered by default":                     {class: "platform", want: "platform"},
		"a class that is not selected is dropped":               {policy: selective, class: "platform"},
		"a class that is selected goes":                         {policy: selective, class: "paying", want: "paying"},
		"a class that the host lacks is dropped":                {class: "own"},
		"a class that is not selected is rejected":              {policy: reject, class: "platform", reason: "PriorityClassNotOffered"},
		"a class that the host lacks is rejected":               {policy: reject, class: "own", reason: "PriorityClassNotOffered"},
		"the system's classes would displace anybody":           {class: "system-cluster-critical"},
		"the system's classes are rejected too":                 {policy: reject, class: "system-node-critical", reason: "PriorityClassNotOffered"},
		"the system's classes go where the operator wants them": {policy: resource.Policy{SystemPriorityClasses: true}, class: "system-node-critical", want: "system-node-critical"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := golden.Env(hostWithClasses())
			env.Policy = test.policy
			host, err := podToHost(env, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-0", UID: "pod-1"},
				Spec: corev1.PodSpec{
					PriorityClassName: test.class, Priority: new(int32(2000001000)), PreemptionPolicy: new(corev1.PreemptLowerPriority),
					Containers: []corev1.Container{{Name: "web", Image: "nginx"}},
				},
			})
			if rejection := (*resource.Rejection)(nil); errors.As(err, &rejection) {
				require.Equal(t, test.reason, rejection.Reason)
				return
			}
			require.NoError(t, err)
			require.Empty(t, test.reason)
			require.Equal(t, test.want, host.Spec.PriorityClassName)
			require.Nil(t, host.Spec.Priority, "the host computes it from the class")
			require.Nil(t, host.Spec.PreemptionPolicy)
		})
	}
}

func TestAPodHasOnlyTheRuntimeThatTheOperatorOffers(t *testing.T) {
	t.Parallel()
	env := golden.Env(hostWithClasses())
	of := func(class *string) *string {
		t.Helper()
		got, err := hostRuntimeClass(env, class)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, "bare", *of(new("bare")))
	env.Policy.RuntimeClasses = forTenants(t)
	require.Nil(t, of(nil))
	require.Equal(t, "sandboxed", *of(new("sandboxed")))
	require.Equal(t, "of-nobody", *of(new("of-nobody")), "the host says that it has none")
	_, err := hostRuntimeClass(env, new("bare"))
	require.ErrorContains(t, err, "RuntimeClassNotOffered")
}

func TestOnlyOfferedClassesShow(t *testing.T) {
	t.Parallel()
	world := hostWithClasses()
	env := golden.Env(world)
	env.Policy = resource.Policy{PriorityClasses: forTenants(t), RuntimeClasses: forTenants(t)}
	var shown []string
	for _, kind := range []resource.Kind{PriorityClasses(), RuntimeClasses()} {
		for _, host := range world.HostList(kind.Resource.Resource) {
			for _, action := range plan.Decide(env, kind, nil, host).Actions {
				shown = append(shown, kind.Name+" "+action.Want.GetName())
			}
		}
	}
	require.Empty(t, cmp.Diff([]string{"PriorityClass paying", "RuntimeClass sandboxed"}, shown))
}

package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

func TestEveryTypeGetsTheHostsAddresses(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	for name, spec := range map[string]corev1.ServiceSpec{
		"cluster-ip":    {Ports: []corev1.ServicePort{port("", 80)}},
		"node-port":     {Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{port("a", 80), {Name: "b", Port: 80, Protocol: corev1.ProtocolUDP}, port("c", 81)}},
		"load-balancer": {Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, Ports: []corev1.ServicePort{port("", 80)}},
		"no-node-ports": {Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: new(false), Ports: []corev1.ServicePort{port("", 80)}},
		"my-address":    {ClusterIP: "10.0.77.77", Ports: []corev1.ServicePort{port("", 80)}},
		// Of those below 30086, none is given to a Service that does not ask for it while there are others.
		"my-node-port": {Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: 30023}}},
		"two-stacks":   {IPFamilyPolicy: new(corev1.IPFamilyPolicyPreferDualStack), Ports: []corev1.ServicePort{port("", 80)}},
	} {
		t.Run(name, func(t *testing.T) {
			made := shared.create(t, namespace, service(name, spec))
			shared.requireAgreement(t, made)
			host := shared.hostOf(t, namespace, name)
			require.Empty(t, host.Annotations[resource.AnnotationUID], "or the syncer could not sweep it, had the write failed")
			require.Equal(t, name, host.Annotations[resource.AnnotationName])
		})
	}
}

func TestServicesWithoutAnAddressAreNotOnTheHost(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	shared.create(t, namespace, service("headless", corev1.ServiceSpec{ClusterIP: "None", Ports: []corev1.ServicePort{port("", 80)}}))
	shared.create(t, namespace, service("external", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"}))
	_, err := shared.virtual.CoreV1().Services(namespace).Create(t.Context(), service("invalid", corev1.ServiceSpec{}), metav1.CreateOptions{})
	require.EqualError(t, err, `Service "invalid" is invalid: spec.ports: Required value`)
	for _, name := range []string{"headless", "external", "invalid"} {
		_, err := shared.host.CoreV1().Services(hostNamespace).Get(t.Context(), naming.Host(tenantName, namespace, name), metav1.GetOptions{})
		require.True(t, apierrors.IsNotFound(err), "%s: %v", name, err)
	}
	// The API server publishes itself when it is ready, and not before.
	controlplanetest.Eventually(t, "kubernetes has an address", func(ctx context.Context) (string, error) {
		kubernetes, err := shared.virtual.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		if err == nil && kubernetes.Spec.ClusterIP == "" {
			return "it has none", nil
		}
		return "", err
	})
}

func TestGenerateName(t *testing.T) {
	t.Parallel()
	wanted := service("", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}})
	wanted.GenerateName = "web-"
	made := shared.create(t, shared.namespace(t), wanted)
	require.True(t, strings.HasPrefix(made.Name, "web-"))
	require.Equal(t, "web-", made.GenerateName)
	shared.requireAgreement(t, made)
}

func TestApplyCreatesAndKeepsAddresses(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	wanted := corev1apply.Service("web", namespace).WithSpec(corev1apply.ServiceSpec().WithType(corev1.ServiceTypeNodePort).
		WithPorts(corev1apply.ServicePort().WithPort(80).WithProtocol(corev1.ProtocolTCP)))
	options := metav1.ApplyOptions{FieldManager: "kubectl"}
	made, err := shared.virtual.CoreV1().Services(namespace).Apply(t.Context(), wanted, options)
	require.NoError(t, err)
	shared.requireAgreement(t, made)
	again, err := shared.virtual.CoreV1().Services(namespace).Apply(t.Context(), wanted, options)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(made, again), "applied again")
}

func TestDryRunsLeaveNothing(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	dryRun := []string{metav1.DryRunAll}
	made, err := shared.virtual.CoreV1().Services(namespace).Create(t.Context(),
		service("web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{DryRun: dryRun})
	require.NoError(t, err)
	require.NotEmpty(t, made.Spec.ClusterIP)
	_, err = shared.host.CoreV1().Services(hostNamespace).Get(t.Context(), naming.Host(tenantName, namespace, "web"), metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)

	shared.create(t, namespace, service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}))
	before := shared.hostOf(t, namespace, "web")
	_, err = shared.virtual.CoreV1().Services(namespace).Patch(t.Context(), "web", types.MergePatchType,
		[]byte(`{"spec":{"type":"NodePort"}}`), metav1.PatchOptions{DryRun: dryRun})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(before, shared.hostOf(t, namespace, "web")))
}

func TestCreatingWhatExistsDoesNotChangeItsHostService(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	made := shared.create(t, namespace, service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}))
	before := shared.hostOf(t, namespace, "web")
	_, err := shared.virtual.CoreV1().Services(namespace).Create(t.Context(),
		service("web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{port("", 81)}}), metav1.CreateOptions{})
	require.EqualError(t, err, `services "web" already exists`)
	require.Empty(t, cmp.Diff(before, shared.hostOf(t, namespace, "web")))
	shared.requireAgreement(t, made)
}

func TestTypesChange(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	made := shared.create(t, namespace, service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}))
	address := made.Spec.ClusterIP
	for _, patch := range []string{
		`{"spec":{"type":"NodePort"}}`,
		`{"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":81}]}}`,
		`{"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local"}}`,
		`{"spec":{"type":"NodePort","externalTrafficPolicy":"Cluster"}}`,
		`{"spec":{"type":"ClusterIP"}}`,
		`{"spec":{"type":"LoadBalancer","allocateLoadBalancerNodePorts":false}}`,
		`{"spec":{"allocateLoadBalancerNodePorts":true}}`,
		`{"spec":{"type":"ClusterIP"}}`,
	} {
		patched, err := shared.virtual.CoreV1().Services(namespace).Patch(t.Context(), "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err, patch)
		require.Equal(t, address, patched.Spec.ClusterIP)
		shared.sync(t, patched)
		shared.requireAgreement(t, patched)
	}

	patched, err := shared.virtual.CoreV1().Services(namespace).Patch(t.Context(), "web", types.MergePatchType,
		[]byte(`{"spec":{"type":"ExternalName","externalName":"example.com"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.Empty(t, patched.Spec.ClusterIP)
	patched, err = shared.virtual.CoreV1().Services(namespace).Patch(t.Context(), "web", types.MergePatchType,
		[]byte(`{"spec":{"type":"ClusterIP","externalName":null}}`), metav1.PatchOptions{})
	require.NoError(t, err, "before the syncer has seen the ExternalName")
	shared.requireAgreement(t, patched)

	external := shared.create(t, namespace, service("new", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com", Ports: []corev1.ServicePort{port("", 80)}}))
	require.Empty(t, external.Spec.ClusterIP)
	patched, err = shared.virtual.CoreV1().Services(namespace).Patch(t.Context(), "new", types.MergePatchType,
		[]byte(`{"spec":{"type":"NodePort","externalName":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	shared.requireAgreement(t, patched)
	require.Equal(t, string(patched.UID), shared.hostOf(t, namespace, "new").Annotations[resource.AnnotationUID])
}

func TestRecreatedAtOnce(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	services := shared.virtual.CoreV1().Services(namespace)
	made := shared.create(t, namespace, service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}))
	shared.sync(t, made) // gives it the UID
	old := shared.hostOf(t, namespace, "web")
	require.NoError(t, services.Delete(t.Context(), "web", metav1.DeleteOptions{}))

	// The syncer has not noticed yet.
	again := shared.create(t, namespace, service("web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{port("", 81)}}))
	shared.requireAgreement(t, again)
	fresh := shared.hostOf(t, namespace, "web")
	require.NotEqual(t, old.UID, fresh.UID)
	require.Empty(t, fresh.Annotations[resource.AnnotationUID])

	// Now the host Service has a finalizer, as that of a load balancer has.
	shared.sync(t, again)
	live := shared.hostOf(t, namespace, "web")
	live.Finalizers = []string{"example.com/clean-up"}
	_, err := shared.host.CoreV1().Services(hostNamespace).Update(t.Context(), live, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, services.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	for _, want := range []string{
		"a Service of this name was deleted, and the host is still cleaning up after it; try again",
		"the host is still deleting the former Service of this name; try again",
	} {
		_, err = services.Create(t.Context(), service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{})
		require.True(t, apierrors.IsConflict(err), "%v", err)
		require.ErrorContains(t, err, want)
	}
}

// Upstream's suite gives a node port back, and takes it again at once.
func TestANodePortIsFreeWithItsService(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	made := shared.create(t, namespace, service("web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{port("", 80)}}))
	shared.sync(t, made)
	require.NoError(t, shared.virtual.CoreV1().Services(namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	same := port("", 80)
	same.NodePort = made.Spec.Ports[0].NodePort
	require.NotZero(t, same.NodePort)
	again := shared.create(t, namespace, service("web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{same}}))
	require.Equal(t, same.NodePort, again.Spec.Ports[0].NodePort)
	shared.requireAgreement(t, again)
}

func TestAForeignHostServiceIsNotTouched(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	foreign := service(naming.Host(tenantName, namespace, "web"), corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 8080)}})
	foreign.Labels = map[string]string{resource.LabelTenant: tenantName} // a namesake of another identity
	foreign, err := shared.host.CoreV1().Services(hostNamespace).Create(t.Context(), foreign, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = shared.virtual.CoreV1().Services(namespace).Create(t.Context(), service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{})
	require.EqualError(t, err, `Operation cannot be fulfilled on services "web": the name is taken on the host by an object that is not this cluster's; delete it there, or use another name here`)
	require.Empty(t, cmp.Diff(foreign, shared.hostOf(t, namespace, "web")))
}

func TestTheHostRefuses(t *testing.T) {
	t.Parallel()
	policies := shared.host.AdmissionregistrationV1()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "quota"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"services"}},
			}}}},
			Validations: []admissionv1.Validation{{
				Expression:        `!has(object.metadata.labels) || !('refuse-me' in object.metadata.labels)`,
				MessageExpression: `'no ' + object.metadata.name + ' in ' + object.metadata.namespace`,
			}},
		},
	}
	_, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "quota"},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "quota", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)

	namespace := shared.namespace(t)
	wanted := service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}})
	wanted.Labels = map[string]string{"refuse-me": ""}
	services := shared.virtual.CoreV1().Services(namespace)
	require.Eventually(t, func() bool { // until the policy is in force
		_, err = services.Create(t.Context(), wanted, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil
	}, settle, tick)
	_, err = services.Create(t.Context(), wanted, metav1.CreateOptions{})
	require.EqualError(t, err, `services "web" is forbidden: ValidatingAdmissionPolicy 'quota' with binding 'quota' denied request: no web in `+namespace)
	_, err = services.Get(t.Context(), "web", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))
}

func TestAnAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	taken := service("somebody-elses", corev1.ServiceSpec{ClusterIP: "10.0.99.99", Ports: []corev1.ServicePort{port("", 80)}})
	_, err := shared.host.CoreV1().Services("default").Create(t.Context(), taken, metav1.CreateOptions{})
	require.NoError(t, err)
	services := shared.virtual.CoreV1().Services(shared.namespace(t))
	_, err = services.Create(t.Context(), service("web", corev1.ServiceSpec{ClusterIP: "10.0.99.99", Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{})
	require.True(t, apierrors.IsInvalid(err))
	require.EqualError(t, err, `Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.0.99.99"]: failed to allocate IP 10.0.99.99: provided IP is already allocated`)
	_, err = services.Create(t.Context(), service("web", corev1.ServiceSpec{ClusterIP: "10.15.0.1", Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{})
	require.ErrorContains(t, err, "10.15.0.1", "in the tenant's range and not in the host's")
	require.True(t, apierrors.IsInvalid(err))
}

func TestExternalIPsAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	services := shared.virtual.CoreV1().Services(shared.namespace(t))
	_, err := services.Create(t.Context(), service("web", corev1.ServiceSpec{ExternalIPs: []string{"8.8.8.8"}, Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.ErrorContains(t, err, `services "web" is forbidden: spec.externalIPs is not allowed`)
	_, err = services.Create(t.Context(), service("later", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = services.Patch(t.Context(), "later", types.MergePatchType, []byte(`{"spec":{"externalIPs":["8.8.8.8"]}}`), metav1.PatchOptions{})
	require.ErrorContains(t, err, `services "later" is forbidden: spec.externalIPs is not allowed`)
}

// Not parallel: it takes the host away from all.
func TestTheHostDoesNotAnswer(t *testing.T) {
	namespace := shared.namespace(t)
	made := shared.create(t, namespace, service("old", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}))
	shared.use(unreachable())
	defer shared.use(&shared.allocator)
	services := shared.virtual.CoreV1().Services(namespace)
	_, err := services.Create(t.Context(), service("new", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}), metav1.CreateOptions{})
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	require.EqualError(t, err, "the host cluster's API does not answer; what runs already keeps running, try again")

	made.Spec.Selector = map[string]string{"a": "b"}
	made.Labels = map[string]string{"c": "d"}
	_, err = services.Update(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err, "what needs no address needs no host")
	require.NoError(t, services.Delete(t.Context(), "old", metav1.DeleteOptions{}))
}

// Upstream takes a node port before it has written the Service. Had somebody else written
// it in the meantime, it would ask for the same port once more, find it taken, and keep it so
// for minutes. The syncer writes the status of a Service whenever it likes.
func TestAServiceIsWrittenFromTwoSides(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	services := shared.virtual.CoreV1().Services(namespace)
	shared.create(t, namespace, service("web", corev1.ServiceSpec{Ports: []corev1.ServicePort{port("", 80)}}))

	ctx, stop := context.WithCancel(t.Context())
	var others errgroup.Group
	for _, side := range []string{"a", "b"} {
		others.Go(func() error {
			for round := 0; ctx.Err() == nil; round++ {
				patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}}}`, side, round)
				if _, err := services.Patch(t.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for round := range 20 {
		for _, spec := range []string{
			`{"spec":{"type":"NodePort"}}`,
			fmt.Sprintf(`{"spec":{"ports":[{"name":"p%d","port":%d}]}}`, round, 81+round),
			`{"spec":{"type":"ClusterIP","ports":[{"port":80}]}}`,
		} {
			_, err := services.Patch(t.Context(), "web", types.MergePatchType, []byte(spec), metav1.PatchOptions{})
			require.NoError(t, err, "round %d: %s", round, spec)
		}
	}
	stop()
	require.NoError(t, others.Wait())
}

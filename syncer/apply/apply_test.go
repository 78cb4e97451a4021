package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/syncer/resource"
)

func TestPatch(t *testing.T) {
	t.Parallel()
	meta := metav1.ObjectMeta{Name: "x", UID: "uid-1"}
	configMap := func(data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: meta, Data: data}
	}
	service := func(ports ...corev1.ServicePort) *corev1.Service {
		return &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: ports}}
	}
	udp := corev1.ServicePort{Name: "dns", Protocol: "UDP", Port: 53, TargetPort: intstr.FromInt32(53)}
	tcp := corev1.ServicePort{Name: "dns-tcp", Protocol: "TCP", Port: 53, TargetPort: intstr.FromInt32(53)}
	for name, test := range map[string]struct {
		kind       resource.Kind
		live, want resource.Object
		patch      string
	}{
		"nothing differs": {
			live: configMap(map[string]string{"a": "1"}), want: configMap(map[string]string{"a": "1"}),
		},
		"keys change, come and go, on the condition of the UID": {
			live: configMap(map[string]string{"a": "1", "b": "1"}), want: configMap(map[string]string{"a": "2", "c": "1"}),
			patch: `{"data":{"a":"2","b":null,"c":"1"},"metadata":{"uid":"uid-1"}}`,
		},
		"lists that repeat their key are written whole": {
			kind: resource.Kind{Atomic: true}, live: service(udp), want: service(udp, tcp),
			patch: `{"metadata":{"uid":"uid-1"},"spec":{"ports":[` +
				`{"name":"dns","port":53,"protocol":"UDP","targetPort":53},` +
				`{"name":"dns-tcp","port":53,"protocol":"TCP","targetPort":53}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patch, err := Patch(test.kind, test.live, test.want)
			require.NoError(t, err)
			if diff := cmp.Diff(test.patch, string(patch)); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
	require.Equal(t, types.MergePatchType, Type(resource.Kind{Atomic: true}))
	require.Equal(t, types.StrategicMergePatchType, Type(resource.Kind{}))
}

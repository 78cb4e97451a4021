package plan_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// filler fills API types with plausible values: every string is another one, lists have
// up to two items, half of the pointers are nil, and a union has one member.
type filler struct {
	rand  *rand.Rand
	count int
	// special fills the types whose values are not any.
	special map[reflect.Type]func() any
}

func newFiller(seed uint64) *filler {
	f := &filler{rand: rand.New(rand.NewPCG(seed, 0))}
	f.special = map[reflect.Type]func() any{
		reflect.TypeFor[apiresource.Quantity]():         func() any { return apiresource.MustParse(fmt.Sprintf("%dm", 1+f.rand.IntN(5000))) },
		reflect.TypeFor[metav1.Time]():                  func() any { return metav1.Time{Time: time.Unix(1700000000+f.rand.Int64N(1000), 0)} },
		reflect.TypeFor[intstr.IntOrString]():           func() any { return intstr.FromInt32(1 + f.rand.Int32N(1000)) },
		reflect.TypeFor[metav1.LabelSelectorOperator](): func() any { return metav1.LabelSelectorOpIn },
		reflect.TypeFor[corev1.DNSPolicy](): func() any {
			return pick(f, corev1.DNSClusterFirst, corev1.DNSNone, corev1.DNSDefault, corev1.DNSClusterFirstWithHostNet)
		},
		reflect.TypeFor[corev1.ObjectFieldSelector]():          func() any { return corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: f.fieldPath()} },
		reflect.TypeFor[corev1.ClusterTrustBundleProjection](): nil, // can't be translated
		reflect.TypeFor[corev1.PodCertificateProjection]():     nil,
		reflect.TypeFor[metav1.FieldsV1]():                     nil, // JSON of its own
	}
	return f
}

func pick[T any](f *filler, choices ...T) T { return choices[f.rand.IntN(len(choices))] }

func (f *filler) fieldPath() string {
	return pick(f, "metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations",
		"metadata.labels['app']", "metadata.annotations['note']", "spec.serviceAccountName", "spec.nodeName", "status.podIP", "status.hostIP")
}

func (f *filler) word() string {
	f.count++
	return fmt.Sprintf("w%d", f.count)
}

// fill sets value, which is addressable, and returns it.
func (f *filler) fill(value reflect.Value) {
	if make, ok := f.special[value.Type()]; ok {
		if make != nil {
			value.Set(reflect.ValueOf(make()))
		}
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(f.word())
	case reflect.Bool:
		value.SetBool(f.rand.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		value.SetInt(1 + f.rand.Int64N(1000))
	case reflect.Pointer:
		if make, ok := f.special[value.Type().Elem()]; (!ok || make != nil) && f.rand.IntN(2) == 0 {
			value.Set(reflect.New(value.Type().Elem()))
			f.fill(value.Elem())
		}
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			value.SetBytes([]byte(f.word()))
			return
		}
		for range f.rand.IntN(3) {
			item := reflect.New(value.Type().Elem()).Elem()
			f.fill(item)
			value.Set(reflect.Append(value, item))
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for range f.rand.IntN(3) {
			key, item := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
			f.fill(key)
			f.fill(item)
			value.SetMapIndex(key, item)
		}
	case reflect.Struct:
		if isUnion(value.Type()) {
			f.fillOne(value)
			return
		}
		for i := range value.NumField() {
			f.fill(value.Field(i))
		}
	default:
		panic(fmt.Sprintf("no filling for %s", value.Type()))
	}
}

// isUnion reports whether exactly one field of a struct may be set.
func isUnion(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[corev1.VolumeSource](), reflect.TypeFor[corev1.VolumeProjection](), reflect.TypeFor[corev1.EnvVarSource]():
		return true
	}
	return false
}

func (f *filler) fillOne(value reflect.Value) {
	for {
		field := value.Field(f.rand.IntN(value.NumField()))
		if _, ok := value.Interface().(corev1.VolumeSource); ok && f.rand.IntN(2) == 0 {
			field = value.FieldByName(pick(f, "Projected", "DownwardAPI", "Secret", "ConfigMap", "CSI", "Ephemeral", "PersistentVolumeClaim"))
		}
		if make, ok := f.special[field.Type().Elem()]; ok && make == nil {
			continue
		}
		field.Set(reflect.New(field.Type().Elem()))
		f.fill(field.Elem())
		return
	}
}

// pod is a virtual pod that its API server could have stored, but for validation.
func (f *filler) pod() *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "virtual-pod", UID: "virtual-uid", Generation: 1,
			Labels:      map[string]string{"app": f.word(), "nestling.dev/tenant": f.word()},
			Annotations: map[string]string{"note": f.word() + "$(X)\n\"ü"},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBurstable},
	}
	f.fill(reflect.ValueOf(&pod.Spec).Elem())
	pod.Spec.NodeName = ""
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "main", Image: f.word()})
	for i := range pod.Spec.Containers {
		dropBoth(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		dropBoth(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.EphemeralContainers {
		dropBoth((*corev1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return pod
}

// dropBoth leaves each variable either a value or a source, never both.
func dropBoth(container *corev1.Container) {
	for i := range container.Env {
		if container.Env[i].ValueFrom != nil {
			container.Env[i].Value = ""
		}
	}
}

// status is what a host could say about its pod, full of its names.
func (f *filler) status(host *corev1.Pod, names []string) corev1.PodStatus {
	var status corev1.PodStatus
	f.fill(reflect.ValueOf(&status).Elem())
	status.Phase = pick(f, corev1.PodPending, corev1.PodRunning)
	text := func(to *string) {
		*to = fmt.Sprintf("%s of pod %s_%s(%s): %q not found", f.word(), host.Name, host.Namespace, host.UID, pick(f, names...))
	}
	text(&status.Message)
	status.Conditions = append(status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	for i := range status.Conditions {
		text(&status.Conditions[i].Message)
	}
	for _, container := range host.Spec.Containers {
		state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}, Terminated: &corev1.ContainerStateTerminated{}}
		text(&state.Waiting.Message)
		text(&state.Terminated.Message)
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{Name: container.Name, State: state})
	}
	return status
}

package leak_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/syncer/resource"
)

// Words that give away where a text comes from.
const (
	tenantName    = "team-q9x"   // host names begin with it
	hostNamespace = "hostspace"  // nothing else has the word in it
	foreign       = "foreign"    // another tenant's
	hostUID       = "hostuid"    // UIDs of host objects
	referred      = "referred"   // names that a virtual object refers to
	forged        = "forged"     // what a tenant writes under keys of ours
	space         = "space"      // the virtual namespace
	otherSpace    = "otherspace" // another
	boundClaim    = "{claim}"    // stands for the host name of the claim that a volume is bound to

	nodeIP, podIP, outsideIP = "192.0.2.1", "10.244.0.7", "198.51.100.1" // of a node of the host, of somebody's pod, of nobody
)

// filler fills objects at random, each field with what its class may hold: on the virtual
// side whatever a tenant could write, on the host side all that the host could say.
type filler struct {
	rand     *rand.Rand
	meanings map[string]string
	count    int
	// host is nil on the virtual side.
	host *hostWords
}

// hostWords are what the host knows of the tenant.
type hostWords struct {
	objects []resource.Object                 // ours, on the host
	kinds   map[resource.Object]resource.Kind // theirs
	phrase  func(f *filler) string            // what it says of one
}

func newFiller(seed uint64, meanings map[string]string) *filler {
	return &filler{rand: rand.New(rand.NewPCG(seed, 0)), meanings: meanings}
}

func pick[T any](f *filler, choices ...T) T { return choices[f.rand.IntN(len(choices))] }

func (f *filler) chance(of int) bool { return f.rand.IntN(of) == 0 }

func (f *filler) word(prefix string) string {
	f.count++
	return fmt.Sprintf("%s%d", prefix, f.count)
}

// special fills types as a whole; nil means that the type is any other.
func (f *filler) special(t reflect.Type, field string) any {
	switch t {
	case reflect.TypeFor[apiresource.Quantity]():
		return apiresource.MustParse(fmt.Sprintf("%dm", 1+f.rand.IntN(5000)))
	case reflect.TypeFor[metav1.Time]():
		return metav1.Time{Time: now.Add(-time.Duration(f.rand.IntN(100)) * time.Second)}
	case reflect.TypeFor[metav1.MicroTime]():
		return metav1.MicroTime{Time: now.Add(-time.Duration(f.rand.IntN(100)) * time.Second)}
	case reflect.TypeFor[metav1.Duration]():
		return metav1.Duration{Duration: time.Second}
	case reflect.TypeFor[intstr.IntOrString]():
		return intstr.FromInt32(1 + f.rand.Int32N(1000))
	case reflect.TypeFor[runtime.RawExtension]():
		return runtime.RawExtension{Raw: []byte(`{"w":"w"}`)}
	case reflect.TypeFor[metav1.LabelSelector]():
		return f.selector()
	case reflect.TypeFor[corev1.NodeSelector]():
		return corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{f.word("node")}}}}}}
	case reflect.TypeFor[metav1.ObjectMeta]():
		return metav1.ObjectMeta{Labels: f.keys(), Annotations: f.keys()}
	case reflect.TypeFor[corev1.DNSPolicy]():
		return pick(f, corev1.DNSClusterFirst, corev1.DNSNone, corev1.DNSDefault, corev1.DNSClusterFirstWithHostNet)
	case reflect.TypeFor[corev1.ServiceType]():
		return pick(f, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName)
	case reflect.TypeFor[corev1.ObjectReference]():
		return f.objectReference(field)
	case reflect.TypeFor[networkingv1.IngressClassParametersReference]():
		parameters := networkingv1.IngressClassParametersReference{Kind: f.word("w"), Name: f.word("cluster")}
		if f.chance(2) {
			parameters.Name, parameters.Namespace = f.text(classReference), new(f.text(classNamespace))
		}
		return parameters
	case reflect.TypeFor[corev1.TypedLocalObjectReference]():
		if f.chance(2) {
			return corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: f.text(classReference)}
		}
	case reflect.TypeFor[corev1.TypedObjectReference]():
		reference := corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: f.text(classReference)}
		if f.chance(2) {
			reference.APIGroup, reference.Kind = new("snapshot.storage.k8s.io"), "VolumeSnapshot"
		}
		if f.chance(8) {
			reference.Namespace = new(f.text(classNamespace))
		}
		return reference
	}
	return nil
}

// selector of anything; a tenant's may name what is ours.
func (f *filler) selector() metav1.LabelSelector {
	var out metav1.LabelSelector
	if f.chance(2) {
		out.MatchLabels = f.keys()
	}
	if f.chance(2) {
		out.MatchExpressions = []metav1.LabelSelectorRequirement{
			{Key: pick(f, f.word("w"), resource.LabelTenant, resource.LabelNamespace), Operator: pick(f, metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn), Values: []string{f.word("w")}},
			{Key: pick(f, f.word("w"), resource.LabelTenant, resource.LabelNamespace), Operator: pick(f, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist)},
		}
	}
	return out
}

// keys are labels, annotations or a selector by labels; a tenant's may be ours.
func (f *filler) keys() map[string]string {
	out := map[string]string{f.word("w"): f.word("w")}
	if f.host == nil && f.chance(2) {
		out[pick(f, resource.LabelTenant, resource.LabelNamespace, resource.AnnotationIdentity, resource.AnnotationUID,
			resource.AnnotationCopied, resource.Prefix+"control-plane", resource.Prefix+"labels")] = f.word(forged)
	}
	return out
}

// objectReference is to an object of ours on the host, or to somebody else's.
func (f *filler) objectReference(field string) corev1.ObjectReference {
	if f.host == nil {
		return corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: space, Name: f.word(referred), UID: types.UID(f.word("uid"))}
	}
	if f.chance(4) || len(f.host.objects) == 0 {
		return corev1.ObjectReference{APIVersion: "v1", Kind: pick(f, "Pod", "PersistentVolumeClaim"), Namespace: pick(f, hostNamespace, f.word(foreign)), Name: f.word(foreign), UID: types.UID(f.word(hostUID))}
	}
	object := pick(f, f.host.objects...)
	for range 100 {
		if field != "core/v1.PersistentVolumeSpec.ClaimRef" || f.host.kinds[object].Name == "PersistentVolumeClaim" {
			break
		}
		object = pick(f, f.host.objects...)
	}
	kind := f.host.kinds[object]
	return corev1.ObjectReference{
		APIVersion: kind.Resource.GroupVersion().String(), Kind: kind.Name, Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID(),
	}
}

// text is a string of a class.
func (f *filler) text(class string) string {
	ours := func() resource.Object { return pick(f, f.host.objects...) }
	onHost := f.host != nil && len(f.host.objects) > 0
	switch class {
	case classReference, classAccount:
		if onHost {
			return pick(f, ours().GetName(), f.word(foreign))
		}
		if class == classAccount {
			return f.word("account") // which variables of the pod may tell
		}
		return f.word(referred)
	case classNamespace:
		if onHost {
			return pick(f, hostNamespace, f.word(foreign))
		}
		return pick(f, space, otherSpace)
	case classCluster:
		return f.word("cluster")
	case classUID:
		if onHost {
			return string(ours().GetUID())
		}
		return f.word("uid")
	case classEndpoint:
		return pick(f, outsideIP, nodeIP, podIP)
	case classFieldPath:
		return pick(f, "metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations",
			"metadata.labels['app']", "metadata.annotations['note']", "spec.serviceAccountName", "spec.nodeName", "status.podIP", "status.hostIP")
	case classHandle:
		if onHost {
			return fmt.Sprintf(pick(f, "/w/%s-%s-w", "w_%s_%s", "w/%s/%s"), hostNamespace, boundClaim)
		}
	case classMessage, classSaid:
		for onHost {
			phrase := f.host.phrase(f)
			if class == classMessage || !strings.Contains(phrase, "namespace") {
				return phrase
			}
		}
	}
	return f.word("w")
}

// fill sets value, which is addressable; it is or belongs to the field of that name.
func (f *filler) fill(value reflect.Value, field string) {
	t := value.Type()
	if t.Kind() == reflect.Struct {
		if made := f.special(t, field); made != nil {
			value.Set(reflect.ValueOf(made))
			return
		}
	}
	if f.meanings[field] == classNever && f.host == nil && t.Kind() != reflect.String && !f.chance(16) {
		return
	}
	switch t.Kind() {
	case reflect.String:
		if made := f.special(t, field); made != nil {
			value.Set(reflect.ValueOf(made))
		} else {
			value.SetString(f.text(f.meanings[field]))
		}
	case reflect.Bool:
		value.SetBool(f.chance(2))
	case reflect.Int, reflect.Int32, reflect.Int64:
		value.SetInt(1 + f.rand.Int64N(1000))
	case reflect.Uint8, reflect.Uint32:
		value.SetUint(1)
	case reflect.Float64:
		value.SetFloat(1)
	case reflect.Pointer:
		if f.chance(2) {
			value.Set(reflect.New(t.Elem()))
			f.fill(value.Elem(), field)
		}
	case reflect.Slice:
		if isBytes(t) {
			value.SetBytes([]byte(f.word("w")))
			return
		}
		for range f.rand.IntN(3) {
			item := reflect.New(t.Elem()).Elem()
			f.fill(item, field)
			value.Set(reflect.Append(value, item))
		}
	case reflect.Map:
		if f.meanings[field] == classPods {
			value.Set(reflect.ValueOf(f.keys()))
			return
		}
		value.Set(reflect.MakeMap(t))
		for range f.rand.IntN(3) {
			key, item := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
			f.fill(key, "")
			f.fill(item, field)
			value.SetMapIndex(key, item)
		}
	case reflect.Struct:
		f.fillStruct(value)
	default:
		panic(fmt.Sprintf("no filling for %s", t))
	}
}

func (f *filler) fillStruct(value reflect.Value) {
	t := value.Type()
	if t == reflect.TypeFor[metav1.TypeMeta]() {
		return
	}
	if isUnion(t) {
		for {
			field := t.Field(f.rand.IntN(t.NumField()))
			if f.host == nil && refused(field.Type.Elem()) && !f.chance(16) {
				continue
			}
			value.FieldByIndex(field.Index).Set(reflect.New(field.Type.Elem()))
			f.fill(value.FieldByIndex(field.Index).Elem(), fieldName(t, field.Name))
			return
		}
	}
	for i := range t.NumField() {
		f.fill(value.Field(i), fieldName(t, t.Field(i).Name))
	}
}

// isUnion reports whether exactly one field of a struct may be set.
func isUnion(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[corev1.VolumeSource](), reflect.TypeFor[corev1.VolumeProjection](),
		reflect.TypeFor[corev1.EnvVarSource](), reflect.TypeFor[corev1.PersistentVolumeSource]():
		return true
	}
	return false
}

// refused are types with which an object goes nowhere; most objects must not have one.
func refused(t reflect.Type) bool {
	return t == reflect.TypeFor[corev1.ClusterTrustBundleProjection]() || t == reflect.TypeFor[corev1.PodCertificateProjection]()
}

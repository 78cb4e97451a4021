package resources

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// podTranslation is the making of one host pod: host begins as a copy of virtual, and
// each step changes what it is about.
type podTranslation struct {
	env     resource.Env
	virtual *corev1.Pod
	host    *corev1.Pod
	// downward is what containers read of the virtual pod.
	downward downwardFields
}

// podToHost is the host pod of a virtual pod. What no step names goes as it is, so
// that a field that Kubernetes adds reaches the host without a change here.
func podToHost(env resource.Env, virtual *corev1.Pod) (*corev1.Pod, error) {
	t := &podTranslation{env: env, virtual: virtual, host: &corev1.Pod{
		ObjectMeta: resource.HostMeta(env, virtual), Spec: *virtual.Spec.DeepCopy(),
	}}
	t.downward = downwardFields{translation: t, keyed: map[string]string{}}
	if t.host.Annotations == nil {
		t.host.Annotations = map[string]string{}
	}
	if t.host.Labels == nil {
		t.host.Labels = map[string]string{}
	}
	for _, step := range []func() error{
		t.refusal, // before anything is made
		t.volumes,
		t.environment, // reads virtual names, so it goes before names; its annotations are numbered after those of volumes
		t.claims,      // writes virtual names, likewise
		t.names,
		t.tokens,
		t.hostname,
		t.dns,
		t.affinity,
		t.spread, // its selectors are the host's already
		t.scheduling,
		t.place,
		t.forced, // has the last word on where and how the pod runs
		t.identity,
		t.topologyLabels,
		t.namespaceLabels,
		t.readiness,
		t.records,
		t.ephemeralContainers,
		t.annotationSize, // counts what the others have written
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return t.host, nil
}

// names translates every name of another object.
func (t *podTranslation) names() error {
	forEachName(t.host, func(_ string, name *string) { *name = t.name(*name) })
	return nil
}

// name is the host name of an object of the pod's virtual namespace.
func (t *podTranslation) name(virtual string) string {
	return naming.Host(t.env.Tenant, t.virtual.Namespace, virtual)
}

// identity gives the host pod a ServiceAccount without rights, and no token of the host's.
func (t *podTranslation) identity() error {
	t.host.Spec.ServiceAccountName = hostServiceAccount(t.env, t.virtual)
	t.host.Spec.DeprecatedServiceAccount = ""
	t.host.Spec.AutomountServiceAccountToken = new(false)
	return nil
}

// scheduling drops what the host's own admission computes from classes, and the classes
// that are not for this tenant.
func (t *podTranslation) scheduling() (err error) {
	t.host.Spec.Priority = nil
	t.host.Spec.PreemptionPolicy = nil
	t.host.Spec.Overhead = nil
	if t.host.Spec.RuntimeClassName, err = hostRuntimeClass(t.env, t.host.Spec.RuntimeClassName); err != nil {
		return err
	}
	t.host.Spec.PriorityClassName, err = hostPriorityClass(t.env, t.host.Spec.PriorityClassName)
	return err
}

// boundLabels are those of a node that binding copies to its pods.
var boundLabels = []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}

// topologyLabels leaves out the labels that binding has copied from the node to the
// virtual pod (the API server's PodTopologyLabels admission): the host's own binding
// gives them to the host pod.
func (t *podTranslation) topologyLabels() error {
	node := t.env.View.Virtual("nodes", resource.Key{Name: t.virtual.Spec.NodeName})
	if node == nil {
		return nil
	}
	for _, key := range boundLabels {
		if value, ok := node.GetLabels()[key]; ok && t.host.Labels[key] == value {
			delete(t.host.Labels, key)
		}
	}
	return nil
}

// namespaceLabels carries the virtual namespace's labels, so that selectors of
// namespaces can be asked of host pods.
func (t *podTranslation) namespaceLabels() error {
	namespace := t.env.View.Virtual("namespaces", resource.Key{Name: t.virtual.Namespace})
	if namespace == nil {
		return nil
	}
	for key, value := range namespace.GetLabels() {
		t.host.Labels[naming.NamespaceLabel(key)] = value
	}
	return nil
}

// readiness hands over the conditions that the virtual side sets for its readiness
// gates: kubelet computes Ready from those of the host pod.
func (t *podTranslation) readiness() error {
	for _, gate := range t.virtual.Spec.ReadinessGates {
		if condition := podCondition(&t.virtual.Status, gate.ConditionType); condition != nil {
			gated := *condition.DeepCopy()
			gated.ObservedGeneration = 0 // counts the virtual pod's generations
			t.host.Status.Conditions = append(t.host.Status.Conditions, gated)
		}
	}
	return nil
}

// records notes what is written, for the sake of the next update.
func (t *podTranslation) records() error {
	annotations := t.host.Annotations
	annotations[podImages] = imagesHash(&t.virtual.Spec)
	annotations[podResources] = resourcesHash(&t.virtual.Spec)
	if gates := gateNames(&t.virtual.Spec); len(gates) > 0 {
		annotations[podGates] = strings.Join(gates, ",")
		annotations[podPlacement] = placementHash(&t.virtual.Spec)
	}
	if t.virtual.Generation > 0 {
		annotations[podGeneration] = strconv.FormatInt(t.virtual.Generation, 10)
	}
	return nil
}

// ephemeralContainers come through their subresource only: a pod can't be created with
// them, so one that isn't on the host yet goes without.
func (t *podTranslation) ephemeralContainers() error {
	if t.env.View.Host("pods", t.host.Name) == nil {
		t.host.Spec.EphemeralContainers = nil
		t.host.Status = corev1.PodStatus{} // likewise
	}
	return nil
}

const (
	// annotationLimit is how much an object's annotations may hold, keys and values in
	// bytes (apimachinery, TotalAnnotationSizeLimitB).
	annotationLimit = 256 << 10
	// annotationReserve is kept for the marks that Stamp adds: names and UIDs.
	annotationReserve = 2 << 10
)

// annotationSize keeps the annotations within the server's limit, which they could
// pass because downward API volumes need a second copy of them. The tenant's largest
// stay behind then; no container sees the difference.
func (t *podTranslation) annotationSize() error {
	size := annotationReserve
	for key, value := range t.host.Annotations {
		size += len(key) + len(value)
		if !strings.HasPrefix(key, resource.Prefix) {
			size += len("a:,") + len(key) // in the list of copied keys
		}
	}
	for key := range t.host.Labels {
		size += len("l:,") + len(key)
	}
	keys := slices.SortedFunc(maps.Keys(t.host.Annotations), func(a, b string) int {
		if d := len(t.host.Annotations[b]) - len(t.host.Annotations[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, key := range keys {
		if size <= annotationLimit {
			return nil
		}
		if !strings.HasPrefix(key, resource.Prefix) {
			size -= len(key) + len(t.host.Annotations[key]) + len("a:,") + len(key)
			delete(t.host.Annotations, key)
		}
	}
	if size > annotationLimit {
		return resource.Rejectf("AnnotationsTooLarge",
			"the labels and annotations that this pod's downward API volumes show take more than the %d KiB that a pod's annotations may hold", annotationLimit>>10)
	}
	return nil
}

func gateNames(spec *corev1.PodSpec) []string {
	var out []string
	for _, gate := range spec.SchedulingGates {
		out = append(out, gate.Name)
	}
	return out
}

func imagesHash(spec *corev1.PodSpec) string {
	images := map[string]string{}
	forEachContainer(spec, func(container *corev1.Container) { images[container.Name] = container.Image })
	for _, container := range spec.EphemeralContainers {
		delete(images, container.Name) // theirs never change
	}
	return contentHash(images)
}

func resourcesHash(spec *corev1.PodSpec) string {
	containers := map[string]corev1.ResourceRequirements{}
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		containers[container.Name] = container.Resources
	}
	return contentHash([]any{containers, spec.Resources})
}

func placementHash(spec *corev1.PodSpec) string {
	return contentHash([]any{spec.NodeSelector, nodeAffinity(spec)})
}

func nodeAffinity(spec *corev1.PodSpec) *corev1.NodeAffinity {
	if spec.Affinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity
}

// contentHash tells contents apart: 64 bits of SHA-256 over their JSON, in which maps
// are sorted and quantities canonical.
func contentHash(content any) string {
	data, err := json.Marshal(content)
	if err != nil {
		panic(err) // API types always have a JSON form
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

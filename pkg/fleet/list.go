package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
)

// Tenant is one tenant as a list shows it.
type Tenant struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	State     State  `json:"state"`
	// Message says what is going on, or what is wrong, and Advice what to do about it.
	Message string `json:"message,omitempty"`
	Advice  string `json:"advice,omitempty"`
	// Image is that of the control plane.
	Image string `json:"image,omitempty"`
	// Ephemeral keeps its data in the pod.
	Ephemeral bool   `json:"ephemeral"`
	Pod       string `json:"pod,omitempty"`
	Node      string `json:"node,omitempty"`
	Restarts  int32  `json:"restarts"`
	// InstalledBy is "nestling create", "Helm release NAME" or "manifests".
	InstalledBy string    `json:"installedBy"`
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	// ExpiresAt and IdleTTL are absent if the tenant has no such limit.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	IdleTTL   string    `json:"idleTTL,omitempty"`
}

// Version is the tag of the image, or its digest.
func (t Tenant) Version() string {
	if _, digest, ok := strings.Cut(t.Image, "@"); ok {
		return digest
	}
	name := t.Image[strings.LastIndex(t.Image, "/")+1:]
	if _, tag, ok := strings.Cut(name, ":"); ok {
		return tag
	}
	return "latest"
}

// List returns the tenants of a namespace, or of all if it is empty, by namespace and name.
func (f *Fleet) List(ctx context.Context, namespace string) ([]Tenant, error) {
	var anchors *corev1.ConfigMapList
	var sets *appsv1.StatefulSetList
	var pods *corev1.PodList
	own := metav1.ListOptions{LabelSelector: deploy.ControlPlaneLabel}
	err := concurrently(
		func() (err error) {
			anchors, err = f.host.CoreV1().ConfigMaps(namespace).List(ctx, own)
			return f.failed("list tenants", err)
		},
		func() (err error) {
			sets, err = f.host.AppsV1().StatefulSets(namespace).List(ctx, own)
			return f.failed("list tenants", err)
		},
		func() (err error) {
			pods, err = f.host.CoreV1().Pods(namespace).List(ctx, own)
			return f.failed("list tenants", err)
		},
	)
	if err != nil {
		return nil, err
	}
	views := map[deploy.Names]*view{}
	of := func(object metav1.Object) *view {
		n := names(object.GetLabels()[deploy.ControlPlaneLabel], object.GetNamespace())
		if views[n] == nil {
			views[n] = &view{names: n, kubeconfig: []byte("not looked at")}
		}
		return views[n]
	}
	for i := range anchors.Items {
		if v := of(&anchors.Items[i]); anchors.Items[i].Name == v.names.Anchor() {
			v.anchor = &anchors.Items[i]
		}
	}
	for i := range sets.Items {
		if v := of(&sets.Items[i]); sets.Items[i].Name == v.names.Tenant {
			v.set = &sets.Items[i]
		}
	}
	for i := range pods.Items {
		of(&pods.Items[i]).pod = &pods.Items[i]
	}
	var out []Tenant
	for _, v := range views {
		if v.anchor == nil && v.set == nil && v.pod == nil { // a volume that was kept, perhaps
			continue
		}
		out = append(out, tenantOf(*v))
	}
	slices.SortFunc(out, func(a, b Tenant) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// tenantOf tells a view.
func tenantOf(v view) Tenant {
	found := diagnose(v)
	out := Tenant{Name: v.names.Tenant, Namespace: v.names.Namespace, State: found.state, Advice: found.advice, InstalledBy: "manifests"}
	if found.state != Ready && found.state != Paused {
		out.Message = found.text
	}
	if v.anchor != nil {
		out.CreatedAt = v.anchor.CreationTimestamp.Time
		out.ExpiresAt, _ = time.Parse(time.RFC3339, v.anchor.Annotations[deploy.ExpiresAtAnnotation])
		out.IdleTTL = v.anchor.Annotations[deploy.IdleTTLAnnotation]
	}
	if v.set != nil {
		if v.anchor == nil {
			out.CreatedAt = v.set.CreationTimestamp.Time
		}
		out.Ephemeral = len(v.set.Spec.VolumeClaimTemplates) == 0
		out.InstalledBy = installedBy(v.set)
		for _, container := range v.set.Spec.Template.Spec.Containers {
			out.Image = container.Image
		}
	}
	if v.pod != nil {
		out.Pod, out.Node = v.pod.Name, v.pod.Spec.NodeName
		for _, status := range v.pod.Status.ContainerStatuses {
			out.Restarts = status.RestartCount
		}
	}
	return out
}

// installedBy reads who manages a StatefulSet.
func installedBy(set *appsv1.StatefulSet) string {
	if release := set.Annotations["meta.helm.sh/release-name"]; release != "" {
		return "Helm release " + release
	}
	for _, entry := range set.ManagedFields {
		if entry.Manager == FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply {
			return "nestling create"
		}
	}
	return "manifests"
}

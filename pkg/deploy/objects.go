package deploy

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// Object is any typed object with its kind set.
type Object interface {
	metav1.Object
	runtime.Object
}

// Objects returns all objects of a tenant, in the order in which they are best applied: what the pod needs comes
// before the pod.
func Objects(o Options) ([]Object, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	file, err := yaml.Marshal(o.file())
	if err != nil {
		return nil, fmt.Errorf("write the configuration of tenant %q: %w", o.Tenant, err)
	}
	objects := []Object{process(o), workload(o), role(o), roleBinding(o)}
	if !o.Namespaced {
		objects = append(objects, clusterRole(o), clusterRoleBinding(o))
	}
	around, err := surroundings(o)
	if err != nil {
		return nil, err
	}
	objects = append(append(objects, anchor(o), configMap(o, file)), around...)
	objects = append(objects, service(o), dns(o), headless(o))
	return append(slices.Concat(objects, routes(o), kubeconfigs(o)), statefulSet(o, file)), nil
}

// surroundings are what a tenant can do without.
func surroundings(o Options) ([]Object, error) {
	var objects []Object
	if len(o.ResourceQuota) > 0 {
		objects = append(objects, resourceQuota(o))
	}
	if len(o.LimitRange) > 0 {
		objects = append(objects, limitRange(o))
	}
	if o.PodDisruptionBudget.Enabled {
		objects = append(objects, disruptionBudget(o))
	}
	if o.NetworkPolicy.Enabled {
		objects = append(objects, networkPolicy(o))
	}
	if o.ServiceMonitor.Enabled {
		monitor, err := serviceMonitor(o)
		if err != nil {
			return nil, err
		}
		objects = append(objects, monitor)
	}
	return objects, nil
}

// labels are on every object of the control plane. The tenant label is not: it is for the tenant's own objects.
func (o Options) labels() map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":     "nestling",
		"app.kubernetes.io/instance": o.Tenant,
		ControlPlaneLabel:            o.Tenant,
	}
}

func (o Options) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: o.Namespace, Labels: o.labels()}
}

func process(o Options) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{TypeMeta: kind("v1", "ServiceAccount"), ObjectMeta: o.meta(o.Tenant)}
}

// workload is who the tenant's pods are on the host: nobody. Their tokens are the tenant's.
func workload(o Options) *corev1.ServiceAccount {
	automount := false
	return &corev1.ServiceAccount{
		TypeMeta: kind("v1", "ServiceAccount"), ObjectMeta: o.meta(o.names().Workload()), AutomountServiceAccountToken: &automount,
	}
}

func role(o Options) *rbacv1.Role {
	return &rbacv1.Role{TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "Role"), ObjectMeta: o.meta(o.Tenant), Rules: Rules(o.Namespace, SyncOptions(&o.Config))}
}

func roleBinding(o Options) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: o.meta(o.Tenant),
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: o.Tenant},
		Subjects: subjects(o),
	}
}

func clusterRole(o Options) *rbacv1.ClusterRole {
	meta := o.meta(o.names().ClusterRole())
	meta.Namespace = ""
	return &rbacv1.ClusterRole{TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "ClusterRole"), ObjectMeta: meta, Rules: append(ClusterRules(SyncOptions(&o.Config)), farewell(o)...)}
}

func clusterRoleBinding(o Options) *rbacv1.ClusterRoleBinding {
	meta := o.meta(o.names().ClusterRole())
	meta.Namespace = ""
	return &rbacv1.ClusterRoleBinding{
		TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "ClusterRoleBinding"), ObjectMeta: meta,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects: subjects(o),
	}
}

func subjects(o Options) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: o.Tenant, Namespace: o.Namespace}}
}

func anchor(o Options) *corev1.ConfigMap {
	meta := o.meta(o.names().Anchor())
	meta.Annotations = map[string]string{
		"nestling.dev/purpose": "Owns everything that the tenant has on the host; deleting it deletes all of that.",
	}
	o.Lifetime.annotate(meta.Annotations)
	if o.Run != "" {
		meta.Annotations[RunAnnotation] = o.Run
	}
	return &corev1.ConfigMap{TypeMeta: kind("v1", "ConfigMap"), ObjectMeta: meta}
}

func configMap(o Options, file []byte) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta: kind("v1", "ConfigMap"), ObjectMeta: o.meta(o.names().Config()), Data: map[string]string{ConfigKey: string(file)},
	}
}

// service is the tenant's API. It publishes the pod before it is ready, so that neither a start nor a host that went
// away costs the time, or the connections, of an endpoint that is taken out and put in again: a connection that comes
// too early is refused, and clients retry.
func service(o Options) *corev1.Service {
	out := &corev1.Service{
		TypeMeta: kind("v1", "Service"), ObjectMeta: o.meta(o.Tenant),
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			Selector:                 map[string]string{ControlPlaneLabel: o.Tenant},
			PublishNotReadyAddresses: true,
			Ports:                    []corev1.ServicePort{{Name: apiPortName, Port: apiPort, TargetPort: intstr.FromString(apiPortName), Protocol: corev1.ProtocolTCP}},
		},
	}
	expose(out, o.Config.APIServer.Exposure)
	return out
}

// dns is the tenant's DNS. It publishes the pod before it is ready for the same reasons: readiness depends on the host,
// and names do not.
func dns(o Options) *corev1.Service {
	port := func(name string, protocol corev1.Protocol) corev1.ServicePort {
		return corev1.ServicePort{Name: name, Port: 53, TargetPort: intstr.FromString(name), Protocol: protocol}
	}
	return &corev1.Service{
		TypeMeta: kind("v1", "Service"), ObjectMeta: o.meta(o.names().DNS()),
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			Selector:                 map[string]string{ControlPlaneLabel: o.Tenant},
			PublishNotReadyAddresses: true,
			Ports:                    []corev1.ServicePort{port("dns", corev1.ProtocolUDP), port("dns-tcp", corev1.ProtocolTCP)},
		},
	}
}

// headless gives the pod the stable name that a StatefulSet promises. It is the one that Prometheus scrapes: whatever
// stands in front of the pod besides, it is scraped once.
func headless(o Options) *corev1.Service {
	meta := o.meta(o.names().Headless())
	meta.Labels[componentLabel] = componentMetrics
	return &corev1.Service{
		TypeMeta: kind("v1", "Service"), ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			Selector:                 map[string]string{ControlPlaneLabel: o.Tenant},
			PublishNotReadyAddresses: true,
			Ports:                    []corev1.ServicePort{{Name: "https", Port: Port, TargetPort: intstr.FromString("https"), Protocol: corev1.ProtocolTCP}},
		},
	}
}

func kind(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

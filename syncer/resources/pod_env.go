package resources

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

// maxServiceEnv bounds the service variables of one pod, names and values in bytes
// over all its containers: they become part of the host pod, which etcd takes up to
// 1.5 MiB. A namespace with more services gets those of the API server only.
const maxServiceEnv = 512 << 10

// environment gives every container the variables that kubelet would: the host's
// kubelet knows other services and another name, namespace, UID and ServiceAccount.
//
// Kubelet ranks env over envFrom over service variables, and lets env refer to all of
// them by $(NAME). So service variables come first in env, where later ones override
// them, except those that envFrom sets.
func (t *podTranslation) environment() error {
	t.host.Spec.EnableServiceLinks = new(false)
	services := serviceEnv(t.env, t.virtual)
	forEachContainer(&t.host.Spec, func(container *corev1.Container) {
		set := t.setByEnvFrom(container)
		var env []corev1.EnvVar
		for _, variable := range services {
			if !set[variable.Name] {
				env = append(env, variable)
			}
		}
		ephemeral := slices.ContainsFunc(t.host.Spec.EphemeralContainers, func(one corev1.EphemeralContainer) bool { return one.Name == container.Name })
		for _, variable := range container.Env {
			env = append(env, t.variable(variable, !ephemeral))
		}
		container.Env = env
	})
	return nil
}

// variable shows of the virtual pod's own fields what kubelet would show of them. Labels
// and annotations it reads anew for every container that it starts, and it tries one again
// that could not start for want of one; so for containers that restart they are read from
// annotations that follow. An ephemeral container starts once, and comes to the host before
// the pod's annotations do.
//
// Other fields never change, and become values. Kubelet expands values but not references,
// so every $ is doubled, which is how expansion spells one. What is no field of the pod, or
// known to the host alone, is returned as it is.
func (t *podTranslation) variable(variable corev1.EnvVar, restarts bool) corev1.EnvVar {
	if variable.ValueFrom == nil || variable.ValueFrom.FieldRef == nil {
		return variable
	}
	path := variable.ValueFrom.FieldRef.FieldPath
	value, ok := podField(t.virtual, path)
	if !ok {
		return variable
	}
	if _, _, changes := subscript(path); changes && restarts {
		t.downward.point(variable.ValueFrom.FieldRef)
		return variable
	}
	return corev1.EnvVar{Name: variable.Name, Value: strings.ReplaceAll(value, "$", "$$")}
}

// setByEnvFrom is which variables a container's envFrom sets, by the objects that it
// names as they are now.
func (t *podTranslation) setByEnvFrom(container *corev1.Container) map[string]bool {
	set := map[string]bool{}
	for _, source := range container.EnvFrom {
		if source.ConfigMapRef != nil {
			if object, ok := t.env.View.Virtual("configmaps", t.key(source.ConfigMapRef.Name)).(*corev1.ConfigMap); ok {
				for key := range object.Data {
					set[source.Prefix+key] = true
				}
			}
		}
		if source.SecretRef != nil {
			if object, ok := t.env.View.Virtual("secrets", t.key(source.SecretRef.Name)).(*corev1.Secret); ok {
				for key := range object.Data {
					set[source.Prefix+key] = true
				}
			}
		}
	}
	return set
}

func (t *podTranslation) key(name string) resource.Key {
	return resource.Key{Namespace: t.virtual.Namespace, Name: name}
}

// podField is the value of a field of a pod's metadata, or its ServiceAccount's name,
// as kubelet gives it to a container. It is false for fields that only the host knows.
func podField(pod *corev1.Pod, path string) (string, bool) {
	if field, key, ok := subscript(path); ok {
		switch field {
		case "metadata.labels":
			value, ok := pod.Labels[key]
			// Binding gives these to the host pod before kubelet sees it, and to the virtual
			// pod later.
			return value, ok || !slices.Contains(boundLabels, key)
		case "metadata.annotations":
			return pod.Annotations[key], true
		}
		return "", false
	}
	switch path {
	case "metadata.name":
		return pod.Name, true
	case "metadata.namespace":
		return pod.Namespace, true
	case "metadata.uid":
		return string(pod.UID), true
	case "metadata.labels":
		return formatMap(pod.Labels), true
	case "metadata.annotations":
		return formatMap(pod.Annotations), true
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, true
	}
	return "", false
}

// subscript splits "metadata.labels['key']".
func subscript(path string) (field, key string, ok bool) {
	inner, ok := strings.CutSuffix(path, "']")
	if !ok {
		return "", "", false
	}
	field, key, ok = strings.Cut(inner, "['")
	return field, key, ok && field != ""
}

// serviceEnv is the service variables of a virtual pod: of the tenant's API server
// always, of the services of its namespace unless it declines them.
func serviceEnv(env resource.Env, virtual *corev1.Pod) []corev1.EnvVar {
	api := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes"},
		Spec: corev1.ServiceSpec{
			ClusterIP: env.APIServerIP,
			Ports:     []corev1.ServicePort{{Name: "https", Protocol: corev1.ProtocolTCP, Port: env.APIServerPort}},
		},
	}
	own := serviceVariables(api)
	if virtual.Spec.EnableServiceLinks != nil && !*virtual.Spec.EnableServiceLinks {
		return own
	}
	var services []*corev1.Service
	for _, object := range env.View.VirtualList("services", virtual.Namespace) {
		service, ok := object.(*corev1.Service)
		if ok && (service.Namespace != api.Namespace || service.Name != api.Name) {
			services = append(services, service)
		}
	}
	slices.SortFunc(services, func(a, b *corev1.Service) int { return strings.Compare(a.Name, b.Name) })
	all := slices.Clone(own)
	size := 0
	for _, service := range services {
		for _, variable := range serviceVariables(service) {
			all = append(all, variable)
			size += len(variable.Name) + len(variable.Value)
		}
	}
	containers := len(virtual.Spec.InitContainers) + len(virtual.Spec.Containers)
	if size*containers > maxServiceEnv {
		return own
	}
	return all
}

// serviceVariables are the variables of one service, as kubelet and, before it, Docker
// links name them. A service without an IP has none.
func serviceVariables(service *corev1.Service) []corev1.EnvVar {
	ip := service.Spec.ClusterIP
	if ip == "" || ip == corev1.ClusterIPNone || len(service.Spec.Ports) == 0 {
		return nil
	}
	prefix := variableName(service.Name)
	var out []corev1.EnvVar
	add := func(name, value string) { out = append(out, corev1.EnvVar{Name: prefix + name, Value: value}) }
	add("_SERVICE_HOST", ip)
	add("_SERVICE_PORT", strconv.Itoa(int(service.Spec.Ports[0].Port)))
	for _, port := range service.Spec.Ports {
		if port.Name != "" {
			add("_SERVICE_PORT_"+variableName(port.Name), strconv.Itoa(int(port.Port)))
		}
	}
	for i, port := range service.Spec.Ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		scheme, number := strings.ToLower(string(protocol)), strconv.Itoa(int(port.Port))
		url := scheme + "://" + net.JoinHostPort(ip, number)
		if i == 0 {
			add("_PORT", url)
		}
		link := fmt.Sprintf("_PORT_%d_%s", port.Port, strings.ToUpper(string(protocol)))
		add(link, url)
		add(link+"_PROTO", scheme)
		add(link+"_PORT", number)
		add(link+"_ADDR", ip)
	}
	return out
}

func variableName(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

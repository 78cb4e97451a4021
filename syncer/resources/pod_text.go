package resources

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// VirtualText is what the host says about the host pod of virtual, in the tenant's
// words: the names of the pod and of everything that it refers to, its UID,
// ServiceAccount and namespace are replaced.
func VirtualText(env resource.Env, virtual *corev1.Pod, text string) string {
	var hostUID types.UID
	if host := env.View.Host("pods", naming.Host(env.Tenant, virtual.Namespace, virtual.Name)); host != nil {
		hostUID = host.GetUID()
	}
	return newPodText(env, virtual, hostUID).translate(text)
}

// podText translates messages about one pod.
type podText struct {
	env                resource.Env
	namespace          string
	names              resource.HostNames
	uids               *strings.Replacer
	hostServiceAccount string
	serviceAccount     string
}

func newPodText(env resource.Env, virtual *corev1.Pod, hostUID types.UID) *podText {
	names := resource.NamesOf(env, resource.KeyOf(virtual))
	names[TokenSecretName(env.Tenant, virtual.Namespace, virtual.Name)] = resource.Key{Namespace: virtual.Namespace, Name: virtual.Name + "-token"}
	if account := virtual.Spec.ServiceAccountName; account != "" {
		names[naming.Host(env.Tenant, virtual.Namespace, account)] = resource.Key{Namespace: virtual.Namespace, Name: account}
	}
	forEachName(virtual, func(_ string, name *string) {
		names[naming.Host(env.Tenant, virtual.Namespace, *name)] = resource.Key{Namespace: virtual.Namespace, Name: *name}
	})
	names[naming.Host(env.Tenant, virtual.Namespace, virtual.Spec.ServiceAccountName)] = resource.Key{Namespace: virtual.Namespace, Name: virtual.Spec.ServiceAccountName}
	var uids []string
	if hostUID != "" && virtual.UID != "" {
		uids = append(uids, string(hostUID), string(virtual.UID))
	}
	return &podText{
		env: env, namespace: virtual.Namespace, names: names, uids: strings.NewReplacer(uids...),
		hostServiceAccount: env.WorkloadServiceAccount, serviceAccount: virtual.Spec.ServiceAccountName,
	}
}

func (t *podText) translate(text string) string {
	if text == "" {
		return ""
	}
	return t.rest(resource.VirtualText(t.env, t.namespace, t.names, text))
}

// translateNames leaves namespaces alone, for text that may be a container's own.
func (t *podText) translateNames(text string) string {
	return t.rest(resource.VirtualNames(t.env, t.names, text))
}

func (t *podText) rest(text string) string {
	return resource.ReplaceWord(t.uids.Replace(text), t.hostServiceAccount, t.serviceAccount, func(string, string) bool { return true })
}

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
	names              *strings.Replacer
	hostNamespace      string
	virtualNamespace   string
	hostServiceAccount string
	serviceAccount     string
}

func newPodText(env resource.Env, virtual *corev1.Pod, hostUID types.UID) *podText {
	host := naming.Host(env.Tenant, virtual.Namespace, virtual.Name)
	pairs := []string{
		host + "_" + env.HostNamespace, virtual.Name + "_" + virtual.Namespace, // kubelet's full name
		env.HostNamespace + "/" + host, virtual.Namespace + "/" + virtual.Name,
		host, virtual.Name,
		TokenSecretName(env.Tenant, virtual.Namespace, virtual.Name), virtual.Name + "-token",
	}
	forEachName(virtual, func(_ string, name *string) {
		pairs = append(pairs, naming.Host(env.Tenant, virtual.Namespace, *name), *name)
	})
	if hostUID != "" && virtual.UID != "" {
		pairs = append(pairs, string(hostUID), string(virtual.UID))
	}
	return &podText{
		names:         strings.NewReplacer(pairs...),
		hostNamespace: env.HostNamespace, virtualNamespace: virtual.Namespace,
		hostServiceAccount: env.WorkloadServiceAccount, serviceAccount: virtual.Spec.ServiceAccountName,
	}
}

func (t *podText) translate(text string) string {
	if text == "" {
		return ""
	}
	text = t.translateNames(text)
	// Host names carry a hash and stand for themselves wherever they occur; a namespace
	// is an ordinary word, and one only where messages write namespaces.
	return replaceWord(text, t.hostNamespace, t.virtualNamespace, isNamespace)
}

// translateNames leaves namespaces alone, for text that may be a container's own.
func (t *podText) translateNames(text string) string {
	text = t.names.Replace(text)
	return replaceWord(text, t.hostServiceAccount, t.serviceAccount, func(string, string) bool { return true })
}

// isNamespace reports whether the word between before and after is written as Kubernetes
// writes a namespace: namespace/name, name_namespace(uid), "namespace", in namespace x,
// name.namespace.svc.
func isNamespace(before, after string) bool {
	for _, end := range []string{"_", "namespace ", "namespace: ", "namespace=", "namespaces ", "namespaces/"} {
		if strings.HasSuffix(strings.ToLower(before), end) {
			return true
		}
	}
	quoted := func(quote string) bool { return strings.HasSuffix(before, quote) && strings.HasPrefix(after, quote) }
	return strings.HasPrefix(after, "/") || strings.HasPrefix(after, ".svc") ||
		quoted(`"`) || quoted(`'`) || quoted("`") || quoted(`\"`)
}

// replaceWord replaces old where no letter, digit or dash touches it and fits agrees.
func replaceWord(text, old, replacement string, fits func(before, after string) bool) string {
	if old == "" || old == replacement {
		return text
	}
	var out strings.Builder
	for {
		at := strings.Index(text, old)
		if at < 0 {
			out.WriteString(text)
			return out.String()
		}
		before, after := text[:at], text[at+len(old):]
		whole := (before == "" && out.Len() == 0 || before != "" && !isNameByte(before[len(before)-1])) &&
			(after == "" || !isNameByte(after[0]))
		out.WriteString(before)
		if whole && fits(before, after) {
			out.WriteString(replacement)
		} else {
			out.WriteString(old)
		}
		text = after
	}
}

func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-'
}

package resource

import (
	"strings"

	"nestling.dev/nestling/syncer/naming"
)

// HostNames are names that a text of the host's may have in it, and the virtual objects
// that they stand for: those that no host object need bear, such as the name of a Secret
// that is missing.
type HostNames map[string]Key

// NamesOf are the host names of virtual objects.
func NamesOf(env Env, objects ...Key) HostNames {
	out := make(HostNames, len(objects))
	for _, object := range objects {
		out[naming.Host(env.Tenant, object.Namespace, object.Name)] = object
	}
	return out
}

// TextAbout is what the host says about the host object of virtual, which refers to others,
// in the tenant's words.
func TextAbout(env Env, virtual Object, refs []Ref, text string) string {
	objects := []Key{KeyOf(virtual)}
	for _, ref := range refs {
		if ref.Namespace != "" {
			objects = append(objects, ref.Key)
		}
	}
	return VirtualText(env, virtual.GetNamespace(), NamesOf(env, objects...), text)
}

// VirtualText is what the host says about an object of a virtual namespace, in the
// tenant's words: names, and those of whatever else is ours on the host, become the
// names here, and the host namespace becomes the object's own.
func VirtualText(env Env, namespace string, names HostNames, text string) string {
	// Host names carry a hash and stand for themselves wherever they occur; a namespace
	// is an ordinary word, and one only where messages write namespaces.
	return ReplaceWord(VirtualNames(env, names, text), env.HostNamespace, namespace, isNamespace)
}

// VirtualNames replaces names only, and the host namespace where it stands beside one, for
// text that may not be the host's own.
func VirtualNames(env Env, names HostNames, text string) string {
	var out strings.Builder
	for text != "" {
		end := 0
		for end < len(text) && isNameByte(text[end]) {
			end++
		}
		if end == 0 {
			out.WriteByte(text[0])
			text = text[1:]
			continue
		}
		word := text[:end]
		text = text[end:]
		object, ok := names.find(env, word)
		if !ok {
			out.WriteString(word)
			continue
		}
		if before, beside := strings.CutSuffix(out.String(), env.HostNamespace+"/"); beside && object.Namespace != "" {
			out.Reset()
			out.WriteString(before + object.Namespace + "/")
		}
		out.WriteString(object.Name)
		for _, beside := range []string{"_" + env.HostNamespace, "." + env.HostNamespace} { // kubelet's full name, a name in DNS
			if rest, ok := strings.CutPrefix(text, beside); ok && object.Namespace != "" && (rest == "" || !isNameByte(rest[0])) {
				out.WriteString(beside[:1] + object.Namespace)
				text = rest
			}
		}
	}
	return out.String()
}

func (n HostNames) find(env Env, word string) (Key, bool) {
	if key, ok := n[word]; ok {
		return key, true
	}
	if !naming.IsHost(word) || env.View == nil {
		return Key{}, false
	}
	host := env.View.Named(word)
	if host == nil || host.GetAnnotations()[AnnotationIdentity] != env.Identity {
		return Key{}, false
	}
	return VirtualKey(host)
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

// ReplaceWord replaces old where no letter, digit or dash touches it and fits agrees.
func ReplaceWord(text, old, replacement string, fits func(before, after string) bool) string {
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

// Package hosttext makes what the host API says fit for a tenant: its messages
// name host objects, which the tenant does not know and should not learn of.
package hosttext

import (
	"slices"
	"strings"
)

// Name is one name of the host and the name that the tenant has for it.
type Name struct{ Host, Virtual string }

// Names are the host names that may occur in one message.
type Names []Name

// Replace returns text with every whole occurrence of a host name replaced. An
// occurrence is whole if no letter, digit or hyphen touches it: in "pod_namespace",
// "namespace/pod" and "name.namespace.svc" each part is, in "my-pod" "pod" is not.
func (n Names) Replace(text string) string {
	names := slices.DeleteFunc(slices.Clone(n), func(name Name) bool {
		return name.Host == "" || name.Host == name.Virtual
	})
	// The longest first: a pod may be called "web.team" in the namespace "team".
	slices.SortStableFunc(names, func(a, b Name) int { return len(b.Host) - len(a.Host) })

	var out strings.Builder
	for at := 0; at < len(text); {
		if at == 0 || !isNameByte(text[at-1]) {
			if name, ok := names.at(text[at:]); ok {
				out.WriteString(name.Virtual)
				at += len(name.Host)
				continue
			}
		}
		out.WriteByte(text[at])
		at++
	}
	return out.String()
}

// at is the name that text begins with.
func (n Names) at(text string) (Name, bool) {
	for _, name := range n {
		rest, ok := strings.CutPrefix(text, name.Host)
		if ok && (rest == "" || !isNameByte(rest[0])) {
			return name, true
		}
	}
	return Name{}, false
}

func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-'
}

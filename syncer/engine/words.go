package engine

import (
	"strings"

	"nestling.dev/nestling/syncer/resource"
)

// words is what the host says about the host object of virtual, in the tenant's words:
// the kind knows its own names, and none of the host's places is named anywhere. A host
// namespace called "default" is left alone: it tells nothing, and is a word of many a
// message.
func (e *Engine) words(kind *syncedKind, virtual resource.Object, text string) string {
	env := e.Env()
	text = kind.Words(env, virtual, text)
	text = replaceWhole(text, env.WorkloadServiceAccount, "default")
	if env.HostNamespace != "default" {
		text = replaceWhole(text, env.HostNamespace, virtual.GetNamespace())
	}
	return text
}

// replaceWhole replaces old where no letter, digit or hyphen touches it.
func replaceWhole(text, old, replacement string) string {
	if old == "" || old == replacement {
		return text
	}
	var out strings.Builder
	last := byte(' ')
	for {
		at := strings.Index(text, old)
		if at < 0 {
			return out.String() + text
		}
		if at > 0 {
			last = text[at-1]
		}
		rest := text[at+len(old):]
		out.WriteString(text[:at])
		if isNameByte(last) || rest != "" && isNameByte(rest[0]) {
			out.WriteString(old)
		} else {
			out.WriteString(replacement)
		}
		text, last = rest, old[len(old)-1]
	}
}

func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-'
}

package engine

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/resource"
)

// Words is what the host says about the host object of virtual, in the tenant's words. It is
// empty for a kind that the engine does not know: its names are not known, either.
func (e *Engine) Words(gr schema.GroupResource, virtual resource.Object, text string) string {
	if _, ok := e.Knows(gr); !ok {
		return ""
	}
	return e.words(e.kinds[gr.Resource], virtual, text)
}

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
	return resource.ReplaceWord(text, old, replacement, func(_, _ string) bool { return true })
}

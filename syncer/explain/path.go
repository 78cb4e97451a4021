package explain

import (
	"strings"

	"nestling.dev/nestling/syncer/resource"
)

// path of a field: names, and keys of lists and maps in brackets.
type path []string

func (p path) with(name string) path { return append(p[:len(p):len(p)], name) }

func (p path) String() string {
	var out strings.Builder
	for i, name := range p {
		if i > 0 && !strings.HasPrefix(name, "[") {
			out.WriteByte('.')
		}
		out.WriteString(name)
	}
	return out.String()
}

// parsePath is the path of a pattern of resource.Reason.
func parsePath(text string) path {
	var out path
	for text != "" {
		end := strings.IndexAny(text[1:], ".[")
		if text[0] == '[' {
			end = strings.IndexByte(text, ']')
		}
		name := text
		if end >= 0 {
			name = text[:end+1]
		}
		out = append(out, name)
		text = strings.TrimPrefix(text[len(name):], ".")
	}
	return out
}

// fits reports whether a pattern's path is p's.
func (p path) fits(pattern path) bool {
	if len(p) != len(pattern) {
		return false
	}
	for i, name := range p {
		if name == pattern[i] {
			continue
		}
		start, wild := strings.CutSuffix(pattern[i], "*]")
		if !wild || !strings.HasPrefix(name, start) {
			return false
		}
	}
	return true
}

// reasons are a kind's, with their patterns parsed.
type reasons struct {
	all      []resource.Reason
	patterns []path
}

func newReasons(all []resource.Reason) reasons {
	out := reasons{all: all}
	for _, reason := range all {
		out.patterns = append(out.patterns, parsePath(reason.Field))
	}
	return out
}

// find is the first reason for a change, nil if there is none.
func (r reasons) find(field path, change resource.ChangeType) *resource.Reason {
	for i, pattern := range r.patterns {
		if when := r.all[i].When; (when == "" || when == change) && field.fits(pattern) {
			return &r.all[i]
		}
	}
	return nil
}

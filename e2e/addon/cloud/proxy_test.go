package cloud

import "testing"

func TestPathsAndHosts(t *testing.T) {
	t.Parallel()
	for path, prefix := range map[string]string{"/": "/", "/x": "/", "/a/b": "/a", "/a": "/a/"} {
		if !prefixes(prefix, path) {
			t.Errorf("%s is not under %s", path, prefix)
		}
	}
	if prefixes("/a", "/ab") || prefixes("/a/b", "/a") {
		t.Error("elements of a path are whole")
	}
	if !wildcard("*.example.org", "a.example.org") || wildcard("*.example.org", "example.org") || wildcard("*.example.org", "a.b.example.org") || wildcard("example.org", "example.org") {
		t.Error("a wildcard is one label")
	}
}

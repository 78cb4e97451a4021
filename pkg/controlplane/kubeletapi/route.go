package kubeletapi

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// action is what a request asks for. Its value is the first segment of the path in
// the kubelet API.
type action string

const (
	actionHealth      action = "healthz"
	actionLogs        action = "containerLogs"
	actionExec        action = "exec"
	actionAttach      action = "attach"
	actionPortForward action = "portForward"
)

// subresource of the host's pod that answers the action.
var subresource = map[action]string{
	actionLogs:        "log",
	actionExec:        "exec",
	actionAttach:      "attach",
	actionPortForward: "portforward",
}

// uid is what a pod's UID may look like: those of static pods are hashes in hex.
var uid = regexp.MustCompile(`^[A-Za-z0-9-]{1,128}$`)

// route is a path of the kubelet API. All of it has been checked: no part can be
// empty, be a dot segment or hold a slash.
type route struct {
	action         action
	namespace, pod string
	uid            types.UID // empty if the path has none
	container      string    // empty for port-forward
}

// parseRoute reads a path. Only the paths that the API server asks for are known,
// and only spelled as it spells them: a path with an escape, a dot segment or an
// empty segment is none.
func parseRoute(location *url.URL) (route, bool) {
	path, ok := strings.CutPrefix(location.Path, "/")
	if !ok || location.EscapedPath() != location.Path {
		return route{}, false
	}
	segments := strings.Split(path, "/")
	if slices.Contains(segments, "") {
		return route{}, false
	}
	found := route{action: action(segments[0])}
	segments = segments[1:]

	switch found.action {
	case actionHealth:
		return found, len(segments) == 0
	case actionLogs:
		if len(segments) != 3 {
			return route{}, false
		}
		found.container = segments[2]
	case actionExec, actionAttach:
		if len(segments) != 3 && len(segments) != 4 {
			return route{}, false
		}
		found.container = segments[len(segments)-1]
		if len(segments) == 4 {
			found.uid = types.UID(segments[2])
		}
	case actionPortForward:
		if len(segments) != 2 && len(segments) != 3 {
			return route{}, false
		}
		if len(segments) == 3 {
			found.uid = types.UID(segments[2])
		}
	default:
		return route{}, false
	}

	found.namespace, found.pod = segments[0], segments[1]
	return found, found.valid()
}

func (r route) valid() bool {
	return len(validation.IsDNS1123Label(r.namespace)) == 0 &&
		len(validation.IsDNS1123Subdomain(r.pod)) == 0 &&
		(r.action == actionPortForward || len(validation.IsDNS1123Label(r.container)) == 0) &&
		(r.uid == "" || uid.MatchString(string(r.uid)))
}

// Package activity knows whether anybody uses the tenant's API.
package activity

import (
	"net/http"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// Tracker counts requests of people and programs from outside: not those of the control plane itself, of kubelets'
// probes, and of the tenant's own pods, which go on whether or not anybody cares.
type Tracker struct {
	now  func() time.Time
	mu   sync.Mutex
	open int
	last time.Time
}

// New starts to count. The start itself is a use.
func New(now func() time.Time) *Tracker { return &Tracker{now: now, last: now()} }

// Last is when a request was served last: now, as long as one is open, such as a watch or an exec.
func (t *Tracker) Last() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open > 0 {
		return t.now()
	}
	return t.last
}

// Wrap belongs behind authentication and authorization: who is turned away has not used anything.
func (t *Tracker) Wrap(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := request.UserFrom(r.Context())
		if !ok || !counts(who) {
			handler.ServeHTTP(w, r)
			return
		}
		t.count(1)
		defer t.count(-1)
		handler.ServeHTTP(w, r)
	})
}

func (t *Tracker) count(change int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open += change
	t.last = t.now()
}

// admin is the one identity of ours that people have.
const admin = "nestling:admin"

// counts says whether a user is somebody from outside.
func counts(who user.Info) bool {
	name := who.GetName()
	if namespace, account, err := serviceaccount.SplitUsername(name); err == nil {
		// A pod's own token names the pod. Upstream's controllers have tokens without one.
		return len(who.GetExtra()[serviceaccount.PodNameKey]) == 0 && (namespace != metav1.NamespaceSystem || !controller(account))
	}
	// system: are the API server, the controller manager, and everybody who has not said who they are.
	return name == admin || !strings.HasPrefix(name, "system:") && !strings.HasPrefix(name, "nestling:")
}

// controllers are the accounts of upstream's controllers, for which it has a role each.
var controllers = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for _, role := range bootstrappolicy.ControllerRoles() {
		if account, ok := strings.CutPrefix(role.Name, "system:controller:"); ok {
			out[account] = true
		}
	}
	return out
})

func controller(account string) bool { return controllers()[account] }

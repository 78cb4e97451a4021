package controlplane

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
)

// withControllerManagerAgent gives the requests of the controllers in this process the user
// agent that they have elsewhere, kube-controller-manager/…: the API server makes of it the
// field manager of what they write, which others go by, such as Argo CD with
// managedFieldsManagers. Client-go makes it of the program's name, for each controller anew.
func withControllerManagerAgent(next http.Handler) http.Handler {
	rename := controllerManagerAgent(rest.DefaultKubernetesUserAgent())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if agent := rename(r.UserAgent()); agent != r.UserAgent() {
			r = r.Clone(r.Context())
			r.Header.Set("User-Agent", agent)
		}
		next.ServeHTTP(w, r)
	})
}

// controllerManagerAgent renames the user agents that rest.AddUserAgent makes of own for the
// controller manager and for the ServiceAccounts of its controllers, and no others.
func controllerManagerAgent(own string) func(agent string) string {
	_, version, _ := strings.Cut(own, "/")
	return func(agent string) string {
		component, found := strings.CutPrefix(agent, own+"/")
		if found && (component == options.KubeControllerManagerUserAgent || strings.HasPrefix(component, serviceaccount.MakeUsername(metav1.NamespaceSystem, ""))) {
			return options.KubeControllerManagerUserAgent + "/" + version + "/" + component
		}
		return agent
	}
}

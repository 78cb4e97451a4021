package apigroup

import (
	"net/http"
	"strings"
	"sync"

	"github.com/emicklei/go-restful/v3"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// Listing decides whether discovery lists a group, whatever else it has. Tools read all that
// is listed; who asks for a resource of a group that is not listed is answered as ever. The
// zero value lists it.
type Listing struct {
	mu     sync.Mutex
	hidden bool
	// Of the form of discovery that carries all resources at once; nil before Install.
	manager  aggregated.ResourceManager
	versions map[string][]apidiscoveryv2.APIVersionDiscovery // by group
}

// Show lists the group from now on, or does not.
func (l *Listing) Show(show bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hidden == !show {
		return
	}
	l.hidden = !show
	l.publish()
}

// publish tells manager what has changed.
func (l *Listing) publish() {
	for group, versions := range l.versions {
		for _, version := range versions {
			if l.hidden {
				l.manager.RemoveGroupVersion(metav1.GroupVersion{Group: group, Version: version.Version})
			} else {
				l.manager.AddGroupVersion(group, version)
			}
		}
	}
}

func (l *Listing) shown() bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.hidden
}

// install does what installs a group, and learns on the way what discovery has of it. The
// documents of the group and of its versions are there as long as it is listed.
func (l *Listing) install(server *genericapiserver.GenericAPIServer, group Group, install func() error) error {
	if l == nil {
		return install()
	}
	learned := &learner{ResourceManager: server.AggregatedDiscoveryGroupManager, versions: map[string][]apidiscoveryv2.APIVersionDiscovery{}}
	server.AggregatedDiscoveryGroupManager = learned
	defer func() { server.AggregatedDiscoveryGroupManager = learned.ResourceManager }()
	if err := install(); err != nil {
		return err
	}
	documents := map[string]bool{"/apis/" + group.version().Group: true}
	for _, version := range group.Info.PrioritizedVersions {
		documents["/apis/"+version.String()] = true
	}
	server.Handler.GoRestfulContainer.Filter(func(request *restful.Request, response *restful.Response, chain *restful.FilterChain) {
		if documents[strings.TrimSuffix(request.Request.URL.Path, "/")] && !l.shown() {
			http.NotFound(response, request.Request) // as of a group that nobody serves
			return
		}
		chain.ProcessFilter(request, response)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.manager, l.versions = learned.ResourceManager, learned.versions
	if l.hidden {
		l.publish()
	}
	return nil
}

// learner keeps what is added to discovery.
type learner struct {
	aggregated.ResourceManager
	versions map[string][]apidiscoveryv2.APIVersionDiscovery
}

func (l *learner) AddGroupVersion(group string, version apidiscoveryv2.APIVersionDiscovery) {
	l.versions[group] = append(l.versions[group], version)
	l.ResourceManager.AddGroupVersion(group, version)
}

package apigroup

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Group is one API group.
type Group struct {
	Info genericapiserver.APIGroupInfo
	// Scheme has the group's types.
	Scheme *runtime.Scheme
	// Definitions of the group's types in OpenAPI, and of no others.
	Definitions common.GetOpenAPIDefinitions
	// ClusterRoles are made at the start like upstream's own.
	ClusterRoles []rbacv1.ClusterRole
	// ClusterRoleBindings likewise.
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
	// Listing decides whether discovery lists the group; nil: always.
	Listing *Listing
}

// version is the one that discovery prefers.
func (g Group) version() schema.GroupVersion { return g.Info.PrioritizedVersions[0] }

// Describe adds the types to the OpenAPI documents of a server that is not built yet.
func (g Group) Describe(config *genericapiserver.Config) {
	name := namer(g.Scheme, config.OpenAPIConfig.GetDefinitionName)
	config.OpenAPIConfig.GetDefinitionName = name
	config.OpenAPIConfig.GetDefinitions = both(config.OpenAPIConfig.GetDefinitions, g.Definitions)

	v3 := config.OpenAPIV3Config
	v3.GetDefinitionName = name
	v3.GetDefinitions = both(v3.GetDefinitions, g.Definitions)
	// Version 3 reads definitions that were made when its configuration was.
	for model, definition := range g.Definitions(func(model string) spec.Ref {
		defined, _ := name(model)
		return spec.MustCreateRef("#/components/schemas/" + common.EscapeJsonPointer(defined))
	}) {
		v3.Definitions[model] = definition
	}
}

// Install adds the group to a server that is built and not prepared yet.
func (g Group) Install(server *genericapiserver.GenericAPIServer) error {
	info := g.Info
	if err := g.Listing.install(server, g, func() error { return server.InstallAPIGroup(&info) }); err != nil {
		return fmt.Errorf("API group %s: %w", g.version().Group, err)
	}
	return nil
}

// namer knows which kinds have a definition, which `kubectl explain` asks for.
func namer(scheme *runtime.Scheme, next func(string) (string, spec.Extensions)) func(string) (string, spec.Extensions) {
	own := openapi.NewDefinitionNamer(scheme)
	return func(model string) (string, spec.Extensions) {
		if name, extensions := own.GetDefinitionName(model); extensions != nil {
			return name, extensions
		}
		return next(model)
	}
}

func both(first, second common.GetOpenAPIDefinitions) common.GetOpenAPIDefinitions {
	return func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		all := first(ref)
		for model, definition := range second(ref) {
			all[model] = definition
		}
		return all
	}
}

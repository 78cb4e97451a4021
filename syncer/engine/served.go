package engine

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/syncer/resource"
)

// Unserved are the optional kinds whose host objects a host does not serve.
func Unserved(ctx context.Context, host rest.Interface, kinds []resource.Kind) ([]resource.Kind, error) {
	served := map[schema.GroupVersion][]metav1.APIResource{}
	var absent []resource.Kind
	for _, kind := range kinds {
		if !kind.Optional || kind.Direction == resource.ReadOnly || kind.Make != nil {
			continue
		}
		version := kind.Resource.GroupVersion()
		list, asked := served[version]
		if !asked {
			var err error
			if list, err = resourcesOf(ctx, host, version); err != nil {
				return nil, err
			}
			served[version] = list
		}
		if !slices.ContainsFunc(list, func(r metav1.APIResource) bool { return r.Name == kind.Resource.Resource }) {
			absent = append(absent, kind)
		}
	}
	return absent, nil
}

// resourcesOf are what a group version serves, nothing if there is no such version.
func resourcesOf(ctx context.Context, host rest.Interface, version schema.GroupVersion) ([]metav1.APIResource, error) {
	var list metav1.APIResourceList
	err := host.Get().AbsPath(apiPath(version)).Do(ctx).Into(&list)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ask the host what it serves of %s: %w", version, err)
	}
	return list.APIResources, nil
}

// apiPath is where a server serves a group version: "apis/apps/v1", "api/v1".
func apiPath(version schema.GroupVersion) string {
	if version.Group == "" {
		return "api/" + version.Version
	}
	return "apis/" + version.String()
}

package deploy

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// Tree renders the kustomize base and its overlays for one tenant: path below manifests/ → content. Each overlay
// builds to exactly what YAML gives for the same option.
func Tree(o Options) (map[string][]byte, error) {
	o.Ephemeral, o.Namespaced = false, false
	base, err := YAML(o)
	if err != nil {
		return nil, err
	}
	ephemeral, err := ephemeralOverlay(o)
	if err != nil {
		return nil, err
	}
	tree := map[string][]byte{"base/nestling.yaml": base}
	for path, content := range map[string]kustomization{
		"base":                {Resources: []string{"nestling.yaml"}},
		"overlays/ephemeral":  ephemeral,
		"overlays/namespaced": namespacedOverlay(o),
	} {
		content.APIVersion, content.Kind = "kustomize.config.k8s.io/v1beta1", "Kustomization"
		body, err := yaml.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		tree[path+"/kustomization.yaml"] = append([]byte("# Rendered from pkg/deploy by `make update`; do not edit.\n"), body...)
	}
	return tree, nil
}

// kustomization is the part of kustomize's format that is used here.
type kustomization struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Resources  []string         `json:"resources"`
	Patches    []kustomizePatch `json:"patches,omitempty"`
}

type kustomizePatch struct {
	Target kustomizeTarget `json:"target"`
	Patch  string          `json:"patch"`
}

type kustomizeTarget struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// patchStep is one step of RFC 6902.
type patchStep struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// ephemeralOverlay swaps the volume for an emptyDir, and the configuration for the one that goes with it.
func ephemeralOverlay(o Options) (kustomization, error) {
	o.Ephemeral = true
	file, err := yaml.Marshal(o.file())
	if err != nil {
		return kustomization{}, fmt.Errorf("write the configuration of tenant %q: %w", o.Tenant, err)
	}
	set := statefulSet(o, file)
	steps := []patchStep{
		{Op: "remove", Path: "/spec/volumeClaimTemplates"},
		{Op: "remove", Path: "/spec/persistentVolumeClaimRetentionPolicy"},
		{Op: "replace", Path: "/spec/template/metadata/annotations", Value: set.Spec.Template.Annotations},
		{Op: "replace", Path: "/spec/template/spec/securityContext", Value: set.Spec.Template.Spec.SecurityContext},
		{Op: "replace", Path: "/spec/template/spec/volumes", Value: set.Spec.Template.Spec.Volumes},
	}
	workload, err := yaml.Marshal(steps)
	if err != nil {
		return kustomization{}, fmt.Errorf("write the ephemeral overlay: %w", err)
	}
	data, err := document(configMap(o, file)) // merged over the base's
	if err != nil {
		return kustomization{}, err
	}
	return kustomization{Resources: []string{"../../base"}, Patches: []kustomizePatch{
		{Target: kustomizeTarget{Kind: "ConfigMap", Name: o.names().Config()}, Patch: string(data)},
		{Target: kustomizeTarget{Kind: "StatefulSet", Name: o.Tenant}, Patch: string(workload)},
	}}, nil
}

// namespacedOverlay takes the only two cluster-wide objects out.
func namespacedOverlay(o Options) kustomization {
	overlay := kustomization{Resources: []string{"../../base"}}
	for _, object := range []Object{clusterRole(o), clusterRoleBinding(o)} {
		gvk := object.GetObjectKind().GroupVersionKind()
		overlay.Patches = append(overlay.Patches, kustomizePatch{
			Target: kustomizeTarget{Kind: gvk.Kind, Name: object.GetName()},
			Patch: fmt.Sprintf("$patch: delete\napiVersion: %s\nkind: %s\nmetadata:\n  name: %q\n",
				gvk.GroupVersion(), gvk.Kind, object.GetName()),
		})
	}
	return overlay
}

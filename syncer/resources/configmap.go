package resources

import (
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

// ConfigMaps go to the host when something there refers to them, when they ask for
// it, or all of them.
func ConfigMaps(all bool) resource.Kind {
	return resource.Spec[*corev1.ConfigMap]{
		Resource:   corev1.SchemeGroupVersion.WithResource("configmaps"),
		Kind:       "ConfigMap",
		Namespaced: true,
		Direction:  resource.ToHost,
		NoStatus:   true,
		About: resource.About{
			Virtual: "everything",
			Host:    "nothing",
			Default: "those that a synced object refers to, or that ask by `nestling.dev/sync: \"true\"`; all with `sync.configMaps: all`",
		},
		New: func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		Select: func(env resource.Env, virtual *corev1.ConfigMap) bool {
			return all || wanted(env, "configmaps", virtual)
		},
		ToHost: func(env resource.Env, virtual *corev1.ConfigMap) (*corev1.ConfigMap, error) {
			return &corev1.ConfigMap{
				ObjectMeta: resource.HostMeta(env, virtual),
				Data:       virtual.Data,
				BinaryData: virtual.BinaryData,
				Immutable:  virtual.Immutable,
			}, nil
		},
		MergeHost: func(_ resource.Env, desired, live *corev1.ConfigMap) *corev1.ConfigMap {
			out := *live
			out.Data, out.BinaryData, out.Immutable = desired.Data, desired.BinaryData, desired.Immutable
			return &out
		},
		Replace: func(desired, live *corev1.ConfigMap) bool {
			return truth(live.Immutable) && (!truth(desired.Immutable) ||
				!sameContent(desired.Data, live.Data) || !sameContent(desired.BinaryData, live.BinaryData))
		},
	}.Erase()
}

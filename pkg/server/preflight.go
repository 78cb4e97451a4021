package server

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/podpolicy"
	"nestling.dev/nestling/pkg/controlplane/preflight"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/resource"
)

// runPreflight follows the quotas of the host namespace: how much there is left decides
// about which pods the host has to be asked.
func (s *server) runPreflight(ctx context.Context, ready func()) error {
	if !s.config.Preflight || s.unreadable["resourcequotas"] {
		return once(ctx, ready, func() error { return nil })
	}
	quotas, err := engine.Informer(s.hostConfig, resource.Kind{
		Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespaced: true,
		New: func() resource.Object { return &corev1.ResourceQuota{} },
	}, s.config.Host.Namespace)
	if err != nil {
		return err
	}
	s.quotas = preflight.NewQuotas(quotas, time.Now)
	ready() // until it is filled, every pod is asked about
	quotas.RunWithContext(ctx)
	return nil
}

// validatingPlugins run after all others of the tenant's but its quota.
func (s *server) validatingPlugins() []controlplane.AdmissionPlugin {
	var plugins []controlplane.AdmissionPlugin
	if rules := s.config.PodRules(); rules != nil {
		plugins = append(plugins, controlplane.AdmissionPlugin{Name: podpolicy.PluginName, New: podpolicy.Factory(rules.Refuse)})
	}
	if !s.config.Preflight {
		return plugins
	}
	judge := preflight.NewHost(preflight.HostOptions{
		Translator: func() preflight.Translator {
			running := s.syncer.Load()
			if running == nil {
				return nil
			}
			return translator{running}
		},
		Quotas: s.quotas,
		Observe: func(resource schema.GroupResource, verdict string, took time.Duration) {
			s.metrics.ObservePreflight(resource.String(), verdict, took)
		},
	})
	return append(plugins, controlplane.AdmissionPlugin{
		Name: preflight.PluginName,
		New:  preflight.Factory(preflight.Options{Judge: judge, Exempt: syncerUser}),
	})
}

// translator is the syncer as preflight sees it.
type translator struct{ *syncer.Syncer }

func (t translator) Trials(ctx context.Context, gr schema.GroupResource, virtual, old resource.Object) ([]preflight.Trial, error) {
	trials, err := t.Syncer.Trials(ctx, gr, virtual, old)
	out := make([]preflight.Trial, 0, len(trials))
	for _, trial := range trials {
		out = append(out, trial)
	}
	return out, err
}

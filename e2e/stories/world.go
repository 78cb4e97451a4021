package stories

import (
	"context"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// World is a host with two tenants on it, in one host namespace.
type World struct {
	Host           kubernetes.Interface
	HostConfig     *rest.Config
	HostKubeconfig string // file
	HostNamespace  string
	A, B           *Tenant

	// Real says that containers really run. Simulated pods only change their status.
	Real bool
	// Image has a shell and tools; simulated hosts take any.
	Image string
	// Kubectl is the program; empty where there is none.
	Kubectl string

	// Kill ends a tenant's process by SIGKILL; its supervisor, or Kill itself, starts it again.
	Kill func(ctx context.Context, tenant string) error
	// StopHostAPI and StartHostAPI stop nothing else of the host.
	StopHostAPI, StartHostAPI func(ctx context.Context) error
}

// Tenant is one virtual cluster as its user has it.
type Tenant struct {
	Name       string
	Config     *rest.Config
	Client     kubernetes.Interface
	Kubeconfig string // file
}

// Story is one thing that must be true.
type Story struct {
	Name string // a sentence
	// Real stories need containers.
	Real bool
	// Alone stories disturb the others, and run after them, one at a time.
	Alone bool
	Run   func(t *testing.T, w *World)
}

// All is every story, in reading order.
func All() []Story {
	var all []Story
	for _, part := range [][]Story{workloads(), configuration(), tokens(), streams(), tenancy(), hostside(), crash(), removal()} {
		all = append(all, part...)
	}
	return all
}

// Run tells every story that the world can carry.
func Run(t *testing.T, w *World) {
	t.Run("together", func(t *testing.T) {
		for _, story := range All() {
			if !story.Alone && (w.Real || !story.Real) {
				t.Run(story.Name, func(t *testing.T) {
					t.Parallel()
					story.Run(t, w)
				})
			}
		}
	})
	for _, story := range All() {
		if story.Alone && (w.Real || !story.Real) {
			t.Run(story.Name, func(t *testing.T) { story.Run(t, w) })
		}
	}
}

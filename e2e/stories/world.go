package stories

import (
	"context"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/e2e/addon/cloud"
	"nestling.dev/nestling/e2e/application"
	"nestling.dev/nestling/e2e/operators"
)

// World is a host with two tenants on it, in one host namespace.
type World struct {
	Host           kubernetes.Interface
	HostConfig     *rest.Config
	HostKubeconfig string // file
	HostNamespace  string
	A, B           *Tenant
	// Rotating is B: it renews its pods' ServiceAccount tokens after a small part of
	// their life.
	Rotating *Tenant
	// Namespaced has no rights outside the host namespace, its pods run as host
	// ServiceAccounts of their own, and its operator has a say in it (OperatorSettings); nil
	// where there is none such.
	Namespaced *Tenant

	// Real says that containers really run. Simulated pods only change their status.
	Real bool
	// Image has a shell and tools; simulated hosts take any.
	Image string
	// Cloud is the host's platform: load balancers and Ingresses.
	Cloud *cloud.Cloud
	// Enforces says that NetworkPolicies of the host hold.
	Enforces bool
	// Kubectl is the program; empty where there is none.
	Kubectl string
	// Program is ours, and ProductImage that of the control plane with it.
	Program, ProductImage string
	// ProductImageUpgrade is the same by another name, and Chart the directory of our Helm chart.
	ProductImageUpgrade, Chart string

	// DNSAddress is where a test asks a tenant's DNS; nil: at the address of its Service.
	DNSAddress func(tenant string) string
	// DialFrom connects from the network of a host pod with one process.
	DialFrom func(ctx context.Context, host *corev1.Pod, network, address string) (net.Conn, error)

	// Kill ends a tenant's process by SIGKILL, and returns when it was started again;
	// its API need not serve yet.
	Kill func(ctx context.Context, tenant string) error
	// Restart ends a tenant's process in order, as a rollout of its pod does, and starts
	// it again. It returns how long the process took to end.
	Restart func(ctx context.Context, tenant string) (stopped time.Duration, err error)
	// StopHostAPI and StartHostAPI stop nothing else of the host.
	StopHostAPI, StartHostAPI func(ctx context.Context) error
	// DeviceDriver has devices on the host; empty where there is none.
	DeviceDriver string
	// StopNode makes a node die without a word, StartNode brings it back; nil where none may.
	StopNode, StartNode func(ctx context.Context, name string) error
	// Outage is how long a story stops the host's API.
	Outage time.Duration

	// Install puts one more tenant beside the others, by its manifests, and returns when
	// its API answers. Uninstall deletes the manifests, and waits for nothing.
	Install   func(ctx context.Context, name string) (*Tenant, error)
	Uninstall func(ctx context.Context, name string) error

	// Application is one with its chart, and helm; nil where there is none.
	Application *application.Application
	// Operators are real ones, built; nil where containers do not run.
	Operators *operators.Set

	// Report takes a figure that was measured on the way: a line.
	Report func(figure string)
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
	for _, part := range [][]Story{workloads(), configuration(), storage(), tokens(), streams(), tenancy(), attacks(), names(), network(), disruption(), nodes(), classes(), devices(), hostside(), preflight(), operatorRules(), observation(), explanations(), operatorStories(), applications(), installation(), removal(), Runs(), crash()} {
		all = append(all, part...)
	}
	return all
}

// Run tells every story that the world can carry.
func Run(t *testing.T, w *World) {
	seen := watchAll(t, w)
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
	t.Run("no pod has ever had two host pods", seen.requireOneEach)
	t.Run("no event and no pod tells a tenant a name of the host's", seen.requireNoHostNames)
}

package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/e2e/kubeconfig"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/stories"
)

// realTests says that tests may bring up real nodes; `make e2e` sets it.
const realTests = "NESTLING_E2E"

// parallel is how many stories run side by side: they mostly wait, so that the number
// of processors, Go's default, says little. A -parallel on the command line wins.
const parallel = "10"

// Names that both hosts have.
const (
	hostNamespace    = "tenants"
	tenantA, tenantB = "team-a", "team-b"
	tenantC          = "team-c" // comes and goes
	tenantD          = "team-d" // has no ClusterRole, and pods with identities of their own
	// rotateAt makes a token of ten minutes, the shortest that there is, live 12 s.
	rotateAt = 0.02
)

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallel); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// product is the program under test, and the repository that holds it.
func product(t *testing.T) (root, binary string) {
	t.Helper()
	root, err := node.Root(t.Context())
	require.NoError(t, err)
	binary = filepath.Join(root, "bin", "nestling")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("the program under test is missing, run `make build`: %v", err)
	}
	return root, binary
}

// tenant is what its kubeconfig says; server, if not empty, is where the test reaches
// it instead.
func tenant(dir, name, server string, content []byte) (*stories.Tenant, error) {
	file, err := kubeconfig.At(content, server)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", name, err)
	}
	out := &stories.Tenant{Name: name, Kubeconfig: filepath.Join(dir, name+".kubeconfig")}
	if err := clientcmd.WriteToFile(*file, out.Kubeconfig); err != nil {
		return nil, err
	}
	if out.Config, err = clientcmd.NewDefaultClientConfig(*file, nil).ClientConfig(); err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", name, err)
	}
	out.Config.QPS = -1
	out.Client, err = kubernetes.NewForConfig(out.Config)
	return out, err
}

// figures are what stories measure, in a file that outlives the test.
type figures struct {
	t     *testing.T
	path  string
	mu    sync.Mutex
	lines []string
}

func newFigures(t *testing.T, root, host string) *figures {
	t.Helper()
	path := filepath.Join(root, ".cache", "figures-"+host+".txt")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	return &figures{t: t, path: path}
}

func (f *figures) report(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t.Log(line)
	f.lines = append(f.lines, line)
	if err := os.WriteFile(f.path, []byte(strings.Join(f.lines, "\n")+"\n"), 0o644); err != nil {
		f.t.Errorf("write figures: %v", err)
	}
}

func clientOf(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

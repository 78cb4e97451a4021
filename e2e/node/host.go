package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Host is a running host cluster. It keeps nothing in memory that is not in its
// directory too: Open gives another process the same.
type Host struct {
	layout layout
	groups hierarchies
}

const stateFile = "state.json"

// Open finds the host that runs from a directory.
func Open(dir string) (*Host, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("node: no host runs from %s", dir)
	}
	if err != nil {
		return nil, err
	}
	h := &Host{}
	if err := json.Unmarshal(data, &h.layout); err != nil {
		return nil, fmt.Errorf("node: %s: %w", filepath.Join(dir, stateFile), err)
	}
	if h.groups, err = findHierarchies("/proc/self/mountinfo"); err != nil {
		return nil, err
	}
	for _, holder := range h.layout.Holders {
		if !h.groups.contains(h.layout.cgroup(), holder) {
			return nil, fmt.Errorf("node: the host of %s is not running any more", dir)
		}
	}
	return h, nil
}

func (h *Host) save() error {
	data, err := json.MarshalIndent(h.layout, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(h.layout.path(stateFile), append(data, '\n'), 0o644)
}

// Kubeconfig is the path of the administrator's kubeconfig. It holds its credentials
// inline, and its server address works from the machine, from the nodes and from pods.
func (h *Host) Kubeconfig() string { return h.layout.kubeconfig("admin") }

// RESTConfig is the administrator's, without client-side rate limits.
func (h *Host) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", h.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("node: kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}

// Client is a typed client of the administrator.
func (h *Host) Client() (kubernetes.Interface, error) {
	config, err := h.RESTConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// NodeNames in order; programs are named after them (see Programs).
func (h *Host) NodeNames() []string {
	var names []string
	for i := range h.layout.Nodes {
		names = append(names, h.layout.nodeName(i))
	}
	return names
}

// NodeAddress is where the node's ports are reached: NodePorts, host ports, 6443 on node 0.
func (h *Host) NodeAddress(node int) string { return h.layout.address(node) }

// MachineAddress is that of the machine in the nodes' network: pods reach what listens there.
func (h *Host) MachineAddress() string { return h.layout.rootAddress() }

// ClusterDNS is the nameserver of pods by default. Nobody is there unless a test makes the
// Service.
func (h *Host) ClusterDNS() string { return h.layout.clusterDNS() }

// ServiceCIDR holds the ClusterIPs; the machine has a route there, through node 0.
func (h *Host) ServiceCIDR() string { return h.layout.serviceCIDR() }

// Logs is the directory with a log file per program.
func (h *Host) Logs() string { return h.layout.path("logs") }

// Kubectl is a command with the administrator's kubeconfig, run on the machine.
func (h *Host) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, h.layout.program("kubectl"), append([]string{"--kubeconfig=" + h.Kubeconfig()}, args...)...)
	command.Env = append(environment(), "KUBECACHEDIR="+h.layout.path("kubectl-cache"))
	return command
}

// Command is a command in the namespaces of a node, ended with the host at the latest.
// Its program is looked up there; its working directory is the root.
func (h *Host) Command(ctx context.Context, node int, argv ...string) *exec.Cmd {
	return h.layout.inNode(ctx, h.groups, node, argv...)
}

// Programs are the names that Start and Stop take: "etcd", "kube-apiserver",
// "kube-controller-manager", "kube-scheduler" and, for each node, "containerd-<node>",
// "kubelet-<node>" and "kube-proxy-<node>".
func (h *Host) Programs() []string {
	var names []string
	for _, p := range h.layout.allPrograms() {
		names = append(names, p.Name)
	}
	return names
}

func (h *Host) pidFile(name string) string { return h.layout.path("pids", name) }
func (h *Host) logFile(name string) string { return h.layout.path("logs", name+".log") }

// running is the process id of a program, 0 if it does not run. The pid is only
// believed if it is in our cgroup: pids are used again.
func (h *Host) running(name string) (int, error) {
	pid, err := readPID(h.pidFile(name))
	if err != nil || pid == 0 || !h.groups.contains(h.layout.cgroup(), pid) {
		return 0, err
	}
	return pid, nil
}

// Start starts a program of the host; it is no fault if it runs already. It does
// not wait for more than the start of the process.
func (h *Host) Start(ctx context.Context, name string) error {
	p, err := h.layout.find(name)
	if err != nil {
		return err
	}
	if pid, err := h.running(name); err != nil || pid != 0 {
		return err
	}
	// The program outlives the context.
	command := h.layout.inNode(context.WithoutCancel(ctx), h.groups, p.Node, p.Argv...)
	pid, err := spawn(command, h.logFile(name), h.pidFile(name))
	if err != nil {
		return fmt.Errorf("node: start %s: %w", name, err)
	}
	// It is about to do so itself; now it has, and running can tell.
	return h.groups.adopt(h.layout.nodeCgroup(p.Node)+"/system", pid)
}

// stopTimeout is how long a program may take to end by itself: an API server drains.
const stopTimeout = 15 * time.Second

// Stop ends a program of the host and waits for it; it is no fault if it does not run.
// Containers run on while containerd or kubelet are stopped.
func (h *Host) Stop(ctx context.Context, name string) error {
	if _, err := h.layout.find(name); err != nil {
		return err
	}
	pid, err := h.running(name)
	if err != nil || pid == 0 {
		return err
	}
	_ = unix.Kill(pid, unix.SIGTERM)
	patient, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if waitExit(patient, pid) == nil {
		return nil
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	if err := waitExit(ctx, pid); err != nil {
		return fmt.Errorf("node: stop %s: %w", name, err)
	}
	return nil
}

// StopAPIServer ends the API server of the host, and leaves the rest as it is.
func (h *Host) StopAPIServer(ctx context.Context) error { return h.Stop(ctx, apiServer) }

// StartAPIServer starts it again and waits until it is ready.
func (h *Host) StartAPIServer(ctx context.Context) error {
	if err := h.Start(ctx, apiServer); err != nil {
		return err
	}
	return h.apiReady(ctx)
}

// alive is a permanent error, with the last words of the program, if it has ended.
func (h *Host) alive(name string) error {
	pid, err := h.running(name)
	if err != nil {
		return permanentError{err}
	}
	if pid == 0 {
		return permanentError{fmt.Errorf("%s has ended: %s (all of it in %s)", name, lastWords(h.logFile(name)), h.logFile(name))}
	}
	return nil
}

// lastWords of a log are the last line that looks like the reason why a program
// ended: a panic, an error or a fatal message. Bounded.
func lastWords(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	words := lines[len(lines)-1]
	for _, line := range lines {
		if reason.MatchString(line) {
			words = line
		}
	}
	return words[:min(len(words), 400)]
}

// reason matches klog's errors, etcd's and containerd's, and what Go and cobra print.
var reason = regexp.MustCompile(`^(panic:|fatal error:|Error:|[EF][0-9]{4} |\{"level":"(error|fatal|panic)"|.*level=(error|fatal)|containerd: )`)

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/e2e/image"
)

// startTimeout is for each thing that is waited for. A machine that is busy with
// builds takes several times the usual seconds.
const startTimeout = 90 * time.Second

// Up brings up a host, after removing what an earlier one of the same directory left.
// When it fails, nothing stays behind but the logs.
func Up(ctx context.Context, options Options) (*Host, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	if err := Requirements(); err != nil {
		return nil, err
	}
	for _, name := range []string{"hostkube", "kubectl", "agnhost", "pause"} {
		if _, err := os.Stat(filepath.Join(options.Programs, name)); err != nil {
			return nil, fmt.Errorf("node: programs of the host, see Build: %w", err)
		}
	}
	if err := Down(ctx, options.Dir); err != nil {
		return nil, err
	}
	h := &Host{layout: layout{Dir: options.Dir, Name: options.Name, Nodes: options.Nodes, Programs: options.Programs}}
	if h.groups, err = findHierarchies("/proc/self/mountinfo"); err != nil {
		return nil, err
	}
	if _, err := net.InterfaceByName(h.layout.linkName()); err == nil {
		owner, _ := linkOwner(h.layout.linkName()) // only to say more
		return nil, fmt.Errorf("node: interface %s exists: a host named %s runs from %q; choose another name", h.layout.linkName(), options.Name, owner)
	}
	images, err := StandardImages(ctx, options.Programs)
	if err != nil {
		return nil, err
	}
	if err := h.up(ctx, append(images, options.Images...)); err != nil {
		// The cleaning up is not to be cut short by what cut the start short.
		return nil, errors.Join(err, Down(context.WithoutCancel(ctx), options.Dir))
	}
	return h, nil
}

func (h *Host) up(ctx context.Context, images []image.Image) error {
	begin := time.Now()
	if err := os.RemoveAll(h.Logs()); err != nil {
		return err
	}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"namespaces", h.makeNamespaces},
		{"network", func(ctx context.Context) error { return h.layout.connect(ctx, h.groups) }},
		{"configuration", h.writeConfig},
		{"programs", func(ctx context.Context) error { return h.startAll(ctx, images) }},
		{"settled", h.settle},
	}
	for _, step := range steps {
		if err := timed(ctx, step.name, step.run); err != nil {
			return err
		}
	}
	klog.FromContext(ctx).Info("Host is up", "took", since(begin), "kubeconfig", h.Kubeconfig(), "logs", h.Logs())
	return nil
}

func (h *Host) makeNamespaces(ctx context.Context) error {
	hub := h.layout.cgroup() + "/hub"
	if err := h.groups.create(hub); err != nil {
		return err
	}
	pid, err := h.layout.hold(ctx, h.groups, hub, holdHub, "")
	if err != nil {
		return err
	}
	h.layout.Holders = []int{pid}
	for i := range h.layout.Nodes {
		system := h.layout.nodeCgroup(i) + "/system"
		if err := h.groups.create(system); err != nil {
			return err
		}
		if err := h.layout.makeNodeDirs(i); err != nil {
			return err
		}
		pid, err := h.layout.hold(ctx, h.groups, system, holdNode, h.layout.nodePath(i))
		if err != nil {
			return err
		}
		h.layout.Holders = append(h.layout.Holders, pid)
	}
	return nil
}

func (h *Host) writeConfig(context.Context) error {
	if err := h.layout.writePKI(time.Now()); err != nil {
		return err
	}
	for i := range h.layout.Nodes {
		if err := h.layout.writeNodeConfig(i); err != nil {
			return err
		}
	}
	return h.save()
}

// startAll starts the control plane and, beside it, containerd and the images; then
// what needs both.
func (h *Host) startAll(ctx context.Context, images []image.Image) error {
	imported := make(chan error, 1)
	go func() {
		imported <- timed(ctx, "containerd and images", func(ctx context.Context) error { return h.startContainerd(ctx, images) })
	}()
	err := timed(ctx, "API server", h.startControlPlane)
	// Awaited in any case: no goroutine is left behind.
	if err := errors.Join(err, <-imported); err != nil {
		return err
	}
	return h.startNodes(ctx)
}

func (h *Host) startControlPlane(ctx context.Context) error {
	for _, p := range h.layout.controlPlane()[:2] { // etcd and the API server
		if err := h.Start(ctx, p.Name); err != nil {
			return err
		}
	}
	if err := h.apiReady(ctx); err != nil {
		return err
	}
	for _, p := range h.layout.controlPlane()[2:] {
		if err := h.Start(ctx, p.Name); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) startContainerd(ctx context.Context, images []image.Image) error {
	for _, name := range h.NodeNames() {
		if err := h.Start(ctx, "containerd-"+name); err != nil {
			return err
		}
	}
	for i, name := range h.NodeNames() {
		err := poll(ctx, "containerd of "+name, startTimeout, func(ctx context.Context) error {
			if err := h.alive("containerd-" + name); err != nil {
				return err
			}
			return run(h.Command(ctx, i, "ctr", "version"))
		})
		if err != nil {
			return err
		}
	}
	for _, img := range images {
		if err := h.ImportImage(ctx, img); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) apiReady(ctx context.Context) error {
	client, err := h.Client()
	if err != nil {
		return err
	}
	return poll(ctx, "the API server", startTimeout, func(ctx context.Context) error {
		if err := errors.Join(h.alive("etcd"), h.alive(apiServer)); err != nil {
			return err
		}
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// startNodes registers the nodes and starts their kubelets and proxies.
func (h *Host) startNodes(ctx context.Context) error {
	client, err := h.Client()
	if err != nil {
		return err
	}
	for i, name := range h.NodeNames() {
		// Made here rather than by kubelet, because the pod network must be the one in
		// CNI's configuration; kubelet adopts it and fills in the rest.
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
			Spec:       corev1.NodeSpec{PodCIDR: h.layout.podCIDR(i), PodCIDRs: []string{h.layout.podCIDR(i)}},
		}
		if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("node: register %s: %w", name, err)
		}
		for _, program := range []string{"kubelet-", "kube-proxy-"} {
			if err := h.Start(ctx, program+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle waits until a pod could be created, would start, and would reach the API
// by its ClusterIP; and until the machine reaches it so.
func (h *Host) settle(ctx context.Context) error {
	client, err := h.Client()
	if err != nil {
		return err
	}
	for i, name := range h.NodeNames() {
		err := poll(ctx, "node "+name, startTimeout, func(ctx context.Context) error {
			return errors.Join(h.alive("kubelet-"+name), nodeReady(ctx, client, name))
		})
		if err != nil {
			return err
		}
		err = poll(ctx, "kube-proxy of "+name, startTimeout, func(ctx context.Context) error {
			if err := h.alive("kube-proxy-" + name); err != nil {
				return err
			}
			return run(h.Command(ctx, i, h.layout.program("agnhost"), "connect", "--timeout=1s", net.JoinHostPort(h.layout.kubernetesIP(), "443")))
		})
		if err != nil {
			return err
		}
	}
	return poll(ctx, "the default ServiceAccount and the way to Services", startTimeout, func(ctx context.Context) error {
		connection, dialErr := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(h.layout.kubernetesIP(), "443"))
		if dialErr == nil {
			_ = connection.Close()
		}
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return errors.Join(dialErr, err, h.alive("kube-controller-manager"), h.alive("kube-scheduler"))
	})
}

func nodeReady(ctx context.Context, client kubernetes.Interface, name string) error {
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			// The taint goes a moment after the condition comes.
			for _, taint := range node.Spec.Taints {
				if taint.Key == corev1.TaintNodeNotReady {
					return fmt.Errorf("still tainted %s", taint.Key)
				}
			}
			return nil
		}
	}
	return fmt.Errorf("not ready: %s", readyMessage(node))
}

func readyMessage(node *corev1.Node) string {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Message
		}
	}
	return "no condition yet"
}

func timed(ctx context.Context, step string, run func(context.Context) error) error {
	begin := time.Now()
	if err := run(ctx); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Host step done", "step", step, "took", since(begin))
	return nil
}

func since(begin time.Time) string { return time.Since(begin).Round(time.Millisecond).String() }

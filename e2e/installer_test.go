package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/e2e/kubeconfig"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/stories"
	"nestling.dev/nestling/pkg/config"
)

const (
	// startPatience is how long a tenant may take to start; the machine may be busy.
	startPatience = 3 * time.Minute
	// localClass is that of the volumes that the installer makes.
	localClass = "stories-local"
)

// installer puts tenants on a real host in the way of a platform team: `nestling
// manifests` and kubectl.
type installer struct {
	host    *node.Host
	client  kubernetes.Interface
	binary  string
	dir     string // kubeconfigs and settings
	volumes string
	corp    string // nameserver of corp.example; empty: there is none
	report  func(string)
}

// setup is a way to run a tenant.
type setup struct {
	words    string
	flags    []string
	volume   bool
	rotateAt float64 // 0 is the default
	// identities lets pods run as host ServiceAccounts of their own.
	identities bool
	// operator is what else the platform's team wants of the tenant.
	operator config.Config
}

func persistent() setup {
	return setup{words: "on a volume", flags: []string{"--storage-class", localClass}, volume: true}
}

func ephemeral(rotateAt float64) setup {
	return setup{words: "ephemeral", flags: []string{"--ephemeral"}, rotateAt: rotateAt}
}

// namespaced has no ClusterRole, pods with identities of their own, and settings of the
// operator's.
func namespaced() setup {
	return setup{words: "ephemeral, without ClusterRole", flags: []string{"--ephemeral", "--namespaced"}, identities: true, operator: stories.OperatorSettings()}
}

// install applies the manifests, and reports how long it took from then until
// `kubectl get namespaces` was answered.
func (i *installer) install(ctx context.Context, name string, how setup) (*stories.Tenant, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if how.volume {
		if err := i.volume(ctx, name); err != nil {
			return nil, err
		}
	}
	settings := "metrics: {scrapeSecret: true}\n"
	if how.rotateAt > 0 {
		settings += fmt.Sprintf("sync: {serviceAccountTokens: {rotateAt: %g}}\n", how.rotateAt)
	}
	if how.identities {
		settings += "sync: {serviceAccounts: true}\n"
	}
	if len(how.operator.InitialObjects) > 0 {
		operator, err := yaml.Marshal(map[string]any{"pods": how.operator.Pods, "initialObjects": how.operator.InitialObjects})
		if err != nil {
			return nil, err
		}
		settings += string(operator)
	}
	if i.corp != "" {
		settings += fmt.Sprintf("dns: {stubDomains: {corp.example: ['%s']}}\n", i.corp)
	}
	file := filepath.Join(i.dir, name+".yaml")
	settings = "apiVersion: nestling.dev/v1alpha1\nkind: Config\n" + settings
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	how.flags = append(how.flags, "--config", file)
	manifests, err := run(exec.CommandContext(ctx, i.binary, append([]string{"manifests", name, "-n", hostNamespace, "--image", node.ProductImage}, how.flags...)...))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(i.manifests(name), manifests, 0o600); err != nil {
		return nil, err
	}
	begin := time.Now()
	if _, err := run(i.host.Kubectl(ctx, "apply", "-f", i.manifests(name))); err != nil {
		return nil, err
	}
	applied := time.Since(begin)
	out, err := i.connect(ctx, name)
	if err != nil {
		return nil, err
	}
	written := time.Since(begin)
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err = run(exec.CommandContext(ctx, i.host.Kubectl(ctx).Path, "--kubeconfig", out.Kubeconfig, "get", "namespaces"))
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("tenant %s does not answer: %w", name, err)
	}
	i.report(fmt.Sprintf("From kubectl apply of %s's manifests (%s) to kubectl get namespaces: %.1f s (applied after %.1f s, kubeconfig written after %.1f s)",
		name, how.words, time.Since(begin).Seconds(), applied.Seconds(), written.Seconds()))
	return out, i.usable(ctx, out)
}

// usable waits for the ServiceAccount that pods need.
func (i *installer) usable(ctx context.Context, tenant *stories.Tenant) error {
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := tenant.Client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
}

func (i *installer) manifests(name string) string {
	return filepath.Join(i.dir, name+"-manifests.yaml")
}

// volume makes the one that the tenant's StatefulSet will claim: the host has no
// provisioner.
func (i *installer) volume(ctx context.Context, name string) error {
	path := filepath.Join(i.volumes, name)
	if err := os.MkdirAll(path, 0o755); err != nil { // its group comes with the mount
		return err
	}
	_, err := i.client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "stories-", Labels: map[string]string{"volume": localClass}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              localClass,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: i.host.NodeNames()[:1],
				}},
			}}}},
		},
	}, metav1.CreateOptions{})
	return err
}

// connect waits for the kubeconfig.
func (i *installer) connect(ctx context.Context, name string) (*stories.Tenant, error) {
	content, server, err := kubeconfig.Await(ctx, i.client, hostNamespace, name)
	if err != nil {
		return nil, err
	}
	return tenant(i.dir, name, server, content)
}

func (i *installer) uninstall(ctx context.Context, name string) error {
	_, err := run(i.host.Kubectl(ctx, "delete", "--wait=false", "--ignore-not-found", "-f", i.manifests(name)))
	return err
}

// leave empties a node that is kept.
func (i *installer) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	for _, name := range []string{tenantA, tenantB, tenantC} {
		if _, err := os.Stat(i.manifests(name)); err != nil {
			continue // it never came so far
		}
		if err := i.uninstall(ctx, name); err != nil {
			return err
		}
	}
	_, err := run(i.host.Kubectl(ctx, "delete", "namespace/"+hostNamespace))
	if err == nil {
		_, err = run(i.host.Kubectl(ctx, "delete", "persistentvolumes", "--selector", "volume="+localClass))
	}
	return err
}

// collect keeps what the tenants' processes have said.
func (i *installer) collect(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if os.RemoveAll(dir) != nil || os.MkdirAll(dir, 0o755) != nil {
		return // it is for people, and no test depends on it
	}
	for _, name := range []string{tenantA, tenantB} {
		for suffix, flags := range map[string][]string{".log": nil, ".previous.log": {"--previous"}} {
			args := append([]string{"-n", hostNamespace, "logs", name + "-0"}, flags...)
			if out, err := run(i.host.Kubectl(ctx, args...)); err == nil {
				_ = os.WriteFile(filepath.Join(dir, name+suffix), out, 0o644)
			}
		}
	}
}

// run returns the standard output of a program; the error carries what it said.
func run(command *exec.Cmd) ([]byte, error) {
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(command.Path), err), errors.New(strings.TrimSpace(said.String())))
	}
	return out.Bytes(), nil
}

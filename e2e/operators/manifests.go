package operators

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"nestling.dev/nestling/e2e/command"
)

// Namespaces in which the manifests put the operators.
const (
	SampleAPIServerNamespace = "wardle"
	CertManagerNamespace     = "cert-manager"
	ClusterAPINamespace      = "capi-system"
)

// SampleAPIServer is upstream's example of an aggregated API server, with its etcd in the
// same pod: apply it with kubectl.
func (s *Set) SampleAPIServer(ctx context.Context) ([]byte, error) {
	source, err := s.source(ctx, sampleAPIServer)
	if err != nil {
		return nil, fmt.Errorf("operators: sample-apiserver: %w", err)
	}
	// The namespace before what is in it.
	files := []string{"ns", "sa", "rbac", "rbac-bind", "auth-delegator", "auth-reader", "service", "deployment", "apiservice"}
	var out bytes.Buffer
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(source, "artifacts", "example", file+".yaml"))
		if err != nil {
			return nil, fmt.Errorf("operators: sample-apiserver: %w", err)
		}
		fmt.Fprintf(&out, "---\n%s\n", content)
	}
	// Since 1.36 its library reads these, too, and does not admit anything before it could.
	const known, missing = `"validatingadmissionpolicybindings"`, `, "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"`
	withRights := bytes.Replace(out.Bytes(), []byte(known), []byte(known+missing), 1)
	manifests := regexp.MustCompile(`image: registry\.k8s\.io/etcd:\S+`).ReplaceAll(withRights, []byte("image: "+imageName("etcd")))
	return bytes.ReplaceAll(manifests, []byte("image: kube-sample-apiserver:latest"), []byte("image: "+imageName("sample-apiserver"))), nil
}

// Flunder is upstream's example of an object of the sample API.
func (s *Set) Flunder(ctx context.Context) ([]byte, error) {
	source, err := s.source(ctx, sampleAPIServer)
	if err != nil {
		return nil, fmt.Errorf("operators: sample-apiserver: %w", err)
	}
	return os.ReadFile(filepath.Join(source, "artifacts", "flunders", "01-flunder.yaml"))
}

// certManagerValues are those of the chart that name images. The check after the start is a
// program that no module carries.
func certManagerValues() string {
	var out strings.Builder
	fmt.Fprintf(&out, "crds: {enabled: true}\nprometheus: {enabled: false}\nstartupapicheck: {enabled: false}\n")
	fmt.Fprintf(&out, "global: {leaderElection: {namespace: %s}}\n", CertManagerNamespace)
	for _, program := range certManagerPrograms() {
		values := fmt.Sprintf("image: {repository: %s, tag: %s, pullPolicy: Never}", registry+"cert-manager-"+program, tag)
		if program == "controller" {
			// A pod that mounts a Secret of a certificate goes with it.
			fmt.Fprintf(&out, "enableCertificateOwnerRef: true\n%s\n", values)
			continue
		}
		fmt.Fprintf(&out, "%s: {%s}\n", program, values)
	}
	return out.String()
}

// CertManager is cert-manager's own chart, rendered. Its namespace is not part of it.
func (s *Set) CertManager(ctx context.Context) ([]byte, error) {
	return s.certManager(ctx, "template", "--kube-version", "v1.36.0")
}

// InstallCertManager is `helm install` of that chart by a tenant's user. It returns when all
// of it is available.
func (s *Set) InstallCertManager(ctx context.Context, kubeconfig string) error {
	_, err := s.certManager(ctx, "install", "--create-namespace", "--wait", "--kubeconfig", kubeconfig)
	return err
}

func (s *Set) certManager(ctx context.Context, verb string, flags ...string) ([]byte, error) {
	source, err := s.source(ctx, "github.com/cert-manager/cert-manager")
	if err != nil {
		return nil, fmt.Errorf("operators: cert-manager: %w", err)
	}
	chart := filepath.Join(source, "deploy", "charts", "cert-manager")
	helm := exec.CommandContext(ctx, s.tools.Helm,
		append([]string{verb, "cert-manager", chart, "--namespace", CertManagerNamespace, "--values", "-"}, flags...)...)
	helm.Stdin = strings.NewReader(certManagerValues())
	helm.Env = os.Environ()
	for _, kind := range []string{"CACHE", "CONFIG", "DATA"} { // nothing of this machine's user
		helm.Env = append(helm.Env, "HELM_"+kind+"_HOME="+filepath.Join(s.bin, "helm"))
	}
	out, err := command.Output(helm)
	if err != nil {
		return nil, fmt.Errorf("operators: cert-manager: %w", err)
	}
	return out, nil
}

// ClusterAPI is what `kubectl apply -k` of Cluster API's core provider gives, with its
// variables at their defaults, as clusterctl would put them in.
func (s *Set) ClusterAPI(ctx context.Context) ([]byte, error) {
	source, err := s.source(ctx, "sigs.k8s.io/cluster-api")
	if err != nil {
		return nil, fmt.Errorf("operators: cluster-api: %w", err)
	}
	manifests, err := command.Output(exec.CommandContext(ctx, s.tools.Kubectl, "kustomize", filepath.Join(source, "core", "config", "default")))
	if err != nil {
		return nil, fmt.Errorf("operators: cluster-api: %w", err)
	}
	// ${NAME:=default}
	manifests = regexp.MustCompile(`\$\{[A-Z_]+:=([^}]*)\}`).ReplaceAll(manifests, []byte("$1"))
	manifests = regexp.MustCompile(`image: \S*cluster-api-controller:\S+`).ReplaceAll(manifests, []byte("image: "+imageName("cluster-api")))
	return bytes.ReplaceAll(manifests, []byte("imagePullPolicy: Always"), []byte("imagePullPolicy: Never")), nil
}

// Manifests are all of them by the operator's name.
func (s *Set) Manifests() map[string]func(ctx context.Context) ([]byte, error) {
	return map[string]func(ctx context.Context) ([]byte, error){
		"sample-apiserver": s.SampleAPIServer, "cert-manager": s.CertManager, "cluster-api": s.ClusterAPI,
	}
}

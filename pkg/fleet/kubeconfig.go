package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// mark is the extension by which a kubeconfig file that we wrote says whose it is.
const mark = "nestling.dev/tenant"

// owner is its content.
type owner struct {
	Tenant    string `json:"tenant"`
	Namespace string `json:"namespace"`
}

// FileError is a file that must not be written, or cannot be.
type FileError struct {
	Path  string
	Cause error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Cause) }
func (e *FileError) Unwrap() error { return e.Cause }

// CheckKubeconfigFile returns a *FileError if path is not free for a kubeconfig of the tenant: there is a file that is
// not one of this very tenant, or there cannot be one.
func CheckKubeconfigFile(path, tenant, namespace string) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return &FileError{path, errors.New("there is no such directory")}
		}
		return nil
	}
	if err != nil {
		var cause *os.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return &FileError{path, err}
	}
	if len(content) == 0 {
		return nil
	}
	config, err := clientcmd.Load(content)
	if err != nil || len(config.Clusters) == 0 {
		return &FileError{path, errors.New("the file exists and is not a kubeconfig: move it away, or choose another by --kubeconfig")}
	}
	if whose, ok := OwnerOf(config); !ok || whose != tenant+"/"+namespace {
		return &FileError{path, fmt.Errorf("the file exists and is not a kubeconfig of tenant %q in namespace %q: move it away, or choose another by --kubeconfig", tenant, namespace)}
	}
	return nil
}

// OwnerOf returns TENANT/NAMESPACE of a kubeconfig that MarkKubeconfig has marked.
func OwnerOf(config *clientcmdapi.Config) (string, bool) {
	current := config.Contexts[config.CurrentContext]
	if current == nil || config.Clusters[current.Cluster] == nil || len(config.Clusters) != 1 {
		return "", false
	}
	extension, ok := config.Clusters[current.Cluster].Extensions[mark].(*runtime.Unknown)
	if !ok {
		return "", false
	}
	var whose owner
	if err := json.Unmarshal(extension.Raw, &whose); err != nil {
		return "", false
	}
	return whose.Tenant + "/" + whose.Namespace, whose.Tenant != ""
}

// MarkKubeconfig writes down whose a kubeconfig is; a server that is not empty replaces the one in it.
func MarkKubeconfig(content []byte, tenant, namespace, server string) ([]byte, error) {
	config, err := clientcmd.Load(content)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of tenant %q: %w", tenant, err)
	}
	raw, err := json.Marshal(owner{tenant, namespace})
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of tenant %q: %w", tenant, err)
	}
	for _, cluster := range config.Clusters {
		cluster.Extensions = map[string]runtime.Object{mark: &runtime.Unknown{Raw: raw, ContentType: runtime.ContentTypeJSON}}
		if server != "" {
			cluster.Server = server
		}
	}
	out, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of tenant %q: %w", tenant, err)
	}
	return out, nil
}

// WriteKubeconfigFile writes what CheckKubeconfigFile has let pass, at once and for its owner only.
func WriteKubeconfigFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".kubeconfig-") // 0600
	if err != nil {
		return &FileError{path, err}
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return &FileError{path, err}
	}
	return nil
}

// serverOf is the URL in a kubeconfig.
func serverOf(kubeconfig []byte) (string, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return "", fmt.Errorf("the tenant's kubeconfig: %w", err)
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil || config.Clusters[current.Cluster] == nil {
		return "", errors.New("the tenant's kubeconfig names no server")
	}
	return config.Clusters[current.Cluster].Server, nil
}

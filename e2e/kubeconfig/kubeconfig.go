// Package kubeconfig is how tests get at the kubeconfig of a tenant on a real host.
package kubeconfig

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Await returns the administrator's kubeconfig when the tenant has written it. The server in
// it is a name that only pods of the host resolve; server is the address behind it, which is
// reached from here and from the nodes too.
func Await(ctx context.Context, host kubernetes.Interface, namespace, tenant string) (content []byte, server string, err error) {
	err = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		secret, err := host.CoreV1().Secrets(namespace).Get(ctx, tenant+"-kubeconfig", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err == nil {
			content = secret.Data["config"]
		}
		return err == nil, err
	})
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig of %s: %w", tenant, err)
	}
	service, err := host.CoreV1().Services(namespace).Get(ctx, tenant, metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	return content, "https://" + service.Spec.ClusterIP + ":443", nil
}

// At is the kubeconfig with another server; with the same where that is empty.
func At(content []byte, server string) (*clientcmdapi.Config, error) {
	file, err := clientcmd.Load(content)
	if err != nil {
		return nil, err
	}
	if server != "" {
		for _, cluster := range file.Clusters {
			cluster.Server = server
		}
	}
	return file, nil
}

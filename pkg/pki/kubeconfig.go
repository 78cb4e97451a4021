package pki

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Kubeconfig renders a kubeconfig for the API server at the URL server, with a
// freshly issued client certificate. name is that of its cluster and context.
func (b *Bundle) Kubeconfig(name, server string, leaf Leaf) ([]byte, error) {
	leaf.Client = true
	cert, key, err := b.Issue(leaf)
	if err != nil {
		return nil, err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: b.CAPEM()}
	config.AuthInfos[leaf.CommonName] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: leaf.CommonName}
	config.CurrentContext = name
	out, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("pki: render a kubeconfig for %s: %w", name, err)
	}
	return out, nil
}

package entry

import (
	"errors"
	"fmt"
	"net/url"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Kubeconfig is what a tenant's kubeconfig says, once it is known to be harmless.
type Kubeconfig struct {
	name, namespace string
	server          *url.URL
	serverName      string
	authority       []byte
	proxy           string
	user            string
	credentials     clientcmdapi.AuthInfo
}

// Parse reads the kubeconfig that the host keeps of a tenant. Who can write that Secret is not to run programs of their
// choice where it is used, nor to read files there, nor to have the tenant's credentials sent to whoever answers: such a
// kubeconfig is refused.
func Parse(content []byte) (*Kubeconfig, error) {
	file, err := clientcmd.Load(content)
	if err != nil {
		return nil, fmt.Errorf("the tenant's kubeconfig: %w", err)
	}
	current := file.Contexts[file.CurrentContext]
	if current == nil || file.Clusters[current.Cluster] == nil || file.AuthInfos[current.AuthInfo] == nil {
		return nil, errors.New("the tenant's kubeconfig has no current context with a cluster and a user")
	}
	cluster, user := file.Clusters[current.Cluster], file.AuthInfos[current.AuthInfo]
	if field := dangerous(cluster, user); field != "" {
		return nil, fmt.Errorf("the tenant's kubeconfig has %s, which nestling never writes: it is refused", field)
	}
	server, err := url.Parse(cluster.Server)
	if err != nil || server.Scheme != "https" || server.Hostname() == "" {
		return nil, fmt.Errorf("the tenant's kubeconfig names the server %q, which is no https URL", cluster.Server)
	}
	out := &Kubeconfig{
		name: file.CurrentContext, namespace: current.Namespace, user: current.AuthInfo,
		server: server, serverName: cluster.TLSServerName, authority: cluster.CertificateAuthorityData, proxy: cluster.ProxyURL,
		credentials: clientcmdapi.AuthInfo{
			ClientCertificateData: user.ClientCertificateData, ClientKeyData: user.ClientKeyData, Token: user.Token,
		},
	}
	if out.serverName == "" {
		out.serverName = server.Hostname() // is in the certificate, in every way of exposure
	}
	return out, nil
}

// dangerous names what a kubeconfig can do beyond naming a server and credentials.
func dangerous(cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) string {
	for _, check := range []struct {
		has   bool
		field string
	}{
		{user.Exec != nil, "users.user.exec"},
		{user.AuthProvider != nil, "users.user.auth-provider"},
		{user.TokenFile != "", "users.user.tokenFile"},
		{user.ClientCertificate != "", "users.user.client-certificate"},
		{user.ClientKey != "", "users.user.client-key"},
		{user.Impersonate != "", "users.user.as"},
		{cluster.CertificateAuthority != "", "clusters.cluster.certificate-authority"},
		{cluster.InsecureSkipTLSVerify, "clusters.cluster.insecure-skip-tls-verify"},
		{len(cluster.CertificateAuthorityData) == 0, "no clusters.cluster.certificate-authority-data"},
	} {
		if check.has {
			return check.field
		}
	}
	return ""
}

// Server is the URL at which the tenant itself believes to be reached.
func (k *Kubeconfig) Server() string { return k.server.String() }

// Direct renders the kubeconfig as it is.
func (k *Kubeconfig) Direct() ([]byte, error) { return k.render(k.Server(), k.proxy) }

// Via renders it for a tunnel that listens on address. The certificate is still that of the tenant's own name.
func (k *Kubeconfig) Via(address string) ([]byte, error) { return k.render("https://"+address, "") }

func (k *Kubeconfig) render(server, proxy string) ([]byte, error) {
	out := clientcmdapi.NewConfig()
	out.Clusters[k.name] = &clientcmdapi.Cluster{
		Server: server, TLSServerName: k.serverName, CertificateAuthorityData: k.authority, ProxyURL: proxy,
	}
	out.AuthInfos[k.user] = k.credentials.DeepCopy()
	out.Contexts[k.name] = &clientcmdapi.Context{Cluster: k.name, AuthInfo: k.user, Namespace: k.namespace}
	out.CurrentContext = k.name
	content, err := clientcmd.Write(*out)
	if err != nil {
		return nil, fmt.Errorf("render the tenant's kubeconfig: %w", err)
	}
	return content, nil
}

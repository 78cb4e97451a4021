package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// lifetime of all certificates: a developer's node may stay up for weeks.
const lifetime = 90 * 24 * time.Hour

// authority is a CA with its key.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

// leaf is what a certificate of a program says.
type leaf struct {
	file   string
	user   string
	groups []string
	names  []string
	ips    []string
}

// writePKI makes every key, certificate and kubeconfig of the host.
func (l layout) writePKI(now time.Time) error {
	if err := os.MkdirAll(l.path("pki"), 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(l.pki("ca"), "host-ca", now)
	if err != nil {
		return err
	}
	front, err := newAuthority(l.pki("front-proxy-ca"), "host-front-proxy-ca", now)
	if err != nil {
		return err
	}
	if err := writeSigningKey(l.pki("sa.key"), l.pki("sa.pub")); err != nil {
		return err
	}
	if err := front.issue(leaf{file: l.pki("front-proxy-client"), user: "front-proxy-client"}, now); err != nil {
		return err
	}
	leaves := []leaf{
		{
			file: "apiserver", user: "kube-apiserver", ips: []string{"127.0.0.1", l.address(0), l.kubernetesIP()},
			names: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		},
		{file: "apiserver-kubelet-client", user: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
	}
	// Upstream's RBAC knows these users, so each program has its own rights only.
	users := []leaf{
		{file: "admin", user: "admin", groups: []string{"system:masters"}},
		{file: "kube-controller-manager", user: "system:kube-controller-manager"},
		{file: "kube-scheduler", user: "system:kube-scheduler"},
		{file: "kube-proxy", user: "system:kube-proxy"},
	}
	for i := range l.Nodes {
		users = append(users, leaf{
			file: "kubelet-" + l.nodeName(i), user: "system:node:" + l.nodeName(i), groups: []string{"system:nodes"},
			names: []string{l.nodeName(i)}, ips: []string{l.address(i)},
		})
	}
	for _, one := range append(leaves, users...) {
		one.file = l.pki(one.file)
		if err := ca.issue(one, now); err != nil {
			return err
		}
	}
	for _, user := range users {
		if err := l.writeKubeconfig(user.file); err != nil {
			return err
		}
	}
	return nil
}

func newAuthority(file, name string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("node: certificate authority %s: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate: certificate, key: key, serial: 1}, writePair(file, der, key)
}

// issue writes <file>.crt and <file>.key, good for both ends of a connection.
func (a *authority) issue(one leaf, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: one.user, Organization: one.groups},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime), DNSNames: one.names,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, ip := range one.ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("node: certificate of %s: %w", one.user, err)
	}
	return writePair(one.file, der, key)
}

func writePair(file string, certificate []byte, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(file+".crt", "CERTIFICATE", certificate); err != nil {
		return err
	}
	return writePEM(file+".key", "EC PRIVATE KEY", der)
}

// writeSigningKey makes the key of ServiceAccount tokens: RSA, because that is what
// verifiers of such tokens expect to meet.
func writeSigningKey(private, public string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if err := writePEM(private, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writePEM(public, "PUBLIC KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// writeKubeconfig makes one that stands alone, so that it can be copied elsewhere.
func (l layout) writeKubeconfig(user string) error {
	var content [3][]byte
	for i, file := range []string{l.pki("ca.crt"), l.pki(user + ".crt"), l.pki(user + ".key")} {
		var err error
		if content[i], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["host"] = &clientcmdapi.Cluster{Server: l.server(), CertificateAuthorityData: content[0]}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: content[1], ClientKeyData: content[2]}
	config.Contexts["host"] = &clientcmdapi.Context{Cluster: "host", AuthInfo: user}
	config.CurrentContext = "host"
	return clientcmd.WriteToFile(*config, l.kubeconfig(user))
}

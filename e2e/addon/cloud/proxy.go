package cloud

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ours(ingress *networkingv1.Ingress) bool {
	return ingress.Spec.IngressClassName != nil && *ingress.Spec.IngressClassName == Class
}

// serve passes a request on to the backend that the Ingresses choose.
func (c *Cloud) serve(answer http.ResponseWriter, request *http.Request) {
	host := request.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	namespace, backend := c.route(host, request.URL.Path)
	if backend == nil || backend.Service == nil {
		http.Error(answer, "no Ingress for "+host+request.URL.Path, http.StatusNotFound)
		return
	}
	address, err := c.address(namespace, backend.Service)
	if err == nil && !c.backends {
		err = errors.New("nothing stands behind Services here")
	}
	if err != nil {
		http.Error(answer, err.Error(), http.StatusServiceUnavailable)
		return
	}
	proxy := httputil.ReverseProxy{Rewrite: func(out *httputil.ProxyRequest) {
		out.SetURL(&url.URL{Scheme: "http", Host: address})
		out.Out.Host = request.Host
		out.SetXForwarded()
	}}
	proxy.ServeHTTP(answer, request)
}

// route finds the backend of a host and path: an exact path before the longest prefix,
// and these before an Ingress's default.
func (c *Cloud) route(host, path string) (namespace string, backend *networkingv1.IngressBackend) {
	best := -1
	consider := func(ingress *networkingv1.Ingress, candidate *networkingv1.IngressBackend, weight int) {
		if candidate != nil && weight > best {
			namespace, backend, best = ingress.Namespace, candidate, weight
		}
	}
	for _, object := range c.ingress.List() {
		ingress := object.(*networkingv1.Ingress)
		if !ours(ingress) {
			continue
		}
		for _, rule := range ingress.Spec.Rules {
			if rule.Host != "" && rule.Host != host && !wildcard(rule.Host, host) {
				continue
			}
			if rule.Host != "" {
				consider(ingress, ingress.Spec.DefaultBackend, 0)
			}
			if rule.HTTP == nil {
				continue
			}
			for i := range rule.HTTP.Paths {
				candidate := &rule.HTTP.Paths[i]
				exact := candidate.PathType != nil && *candidate.PathType == networkingv1.PathTypeExact
				switch {
				case exact && candidate.Path == path:
					consider(ingress, &candidate.Backend, 1<<20)
				case !exact && prefixes(candidate.Path, path):
					consider(ingress, &candidate.Backend, 1+len(candidate.Path))
				}
			}
		}
	}
	return namespace, backend
}

func wildcard(pattern, host string) bool {
	suffix, ok := strings.CutPrefix(pattern, "*")
	label, cut := strings.CutSuffix(host, suffix)
	return ok && cut && label != "" && !strings.Contains(label, ".")
}

// prefixes compares element by element, as pathType Prefix asks for.
func prefixes(prefix, path string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// address is a Service's ClusterIP and the port that a backend names.
func (c *Cloud) address(namespace string, backend *networkingv1.IngressServiceBackend) (string, error) {
	object, exists, err := c.services.GetByKey(namespace + "/" + backend.Name)
	if err != nil || !exists {
		return "", fmt.Errorf("no Service %s/%s", namespace, backend.Name)
	}
	service := object.(*corev1.Service)
	for _, port := range service.Spec.Ports {
		if backend.Port.Name != "" && port.Name == backend.Port.Name || port.Port == backend.Port.Number {
			return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port))), nil
		}
	}
	return "", fmt.Errorf("Service %s/%s has no port %v", namespace, backend.Name, backend.Port)
}

// certificate is from the Secret of the Ingress that has the host among its TLS hosts.
func (c *Cloud) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for _, object := range c.ingress.List() {
		ingress := object.(*networkingv1.Ingress)
		if !ours(ingress) {
			continue
		}
		for _, entry := range ingress.Spec.TLS {
			if !slices.Contains(entry.Hosts, hello.ServerName) || entry.SecretName == "" {
				continue
			}
			secret, err := c.host.CoreV1().Secrets(ingress.Namespace).Get(hello.Context(), entry.SecretName, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
			return &pair, err
		}
	}
	return nil, fmt.Errorf("no Ingress has a certificate for %q", hello.ServerName)
}

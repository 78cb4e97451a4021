// Coredns is the cluster DNS of a test host, and a nameserver in upstream's test image:
// upstream's program with the plugins that their Corefiles name.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	// The order in which a query passes them, as in upstream's plugin.cfg.
	dnsserver.Directives = []string{"health", "ready", "log", "errors", "cache", "loadbalance", "hosts", "kubernetes"}
	coremain.Run()
}

package node

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// layout is every name and address, computed from what was asked for. It is what
// the state file keeps, so that another process finds the same.
type layout struct {
	Dir      string `json:"dir"`
	Name     string `json:"name"`
	Nodes    int    `json:"nodes"`
	Programs string `json:"programs"`
	// Slot tells the networks of hosts on one machine apart: 0 to maxSlot.
	Slot int `json:"slot"`
	// Holders are the processes whose namespaces are the hub's and the nodes': the
	// hub first, then node 0 and so on.
	Holders []int `json:"holders"`
}

// maxSlot keeps pod networks within 10.244-10.251 and Service networks within
// 10.96-10.103, that is inside 10.96.0.0/12.
const maxSlot = 7

func (l layout) linkNetwork() string     { return fmt.Sprintf("172.30.%d.0/24", l.Slot) }
func (l layout) rootAddress() string     { return fmt.Sprintf("172.30.%d.1", l.Slot) }
func (l layout) gateway() string         { return fmt.Sprintf("172.30.%d.254", l.Slot) }
func (l layout) address(i int) string    { return fmt.Sprintf("172.30.%d.%d", l.Slot, 2+i) }
func (l layout) podCIDR(i int) string    { return fmt.Sprintf("10.%d.%d.0/24", 244+l.Slot, i) }
func (l layout) podNetwork() string      { return fmt.Sprintf("10.%d.0.0/16", 244+l.Slot) }
func (l layout) serviceCIDR() string     { return fmt.Sprintf("10.%d.0.0/16", 96+l.Slot) }
func (l layout) kubernetesIP() string    { return fmt.Sprintf("10.%d.0.1", 96+l.Slot) }
func (l layout) clusterDNS() string      { return fmt.Sprintf("10.%d.0.10", 96+l.Slot) }
func (l layout) server() string          { return "https://" + l.address(0) + ":6443" }
func (l layout) nodeName(i int) string   { return l.Name + "-" + strconv.Itoa(i) }
func (l layout) linkName() string        { return l.Name + "-up" }
func (l layout) cgroup() string          { return cgroupName(l.Dir) }
func (l layout) nodeCgroup(i int) string { return l.cgroup() + "/" + l.nodeName(i) }

func (l layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}
func (l layout) nodePath(i int, parts ...string) string {
	return l.path(append([]string{"nodes", l.nodeName(i)}, parts...)...)
}
func (l layout) pki(name string) string        { return l.path("pki", name) }
func (l layout) kubeconfig(user string) string { return l.path("pki", user+".kubeconfig") }
func (l layout) program(name string) string    { return filepath.Join(l.Programs, name) }

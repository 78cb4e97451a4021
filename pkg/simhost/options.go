package simhost

import (
	"fmt"
	"io"
	"time"
)

// Options of a simulated host. The zero value is good.
type Options struct {
	// Dir holds etcd's data, certificates and sockets. Its path must be short:
	// a unix socket's path has room for 100 characters. Empty means a temporary
	// directory, removed when the host has stopped.
	Dir string

	// Port of the API on 127.0.0.1. 0 means a free one.
	Port int

	// Nodes is their number, named node-1 … node-N. Default 3.
	Nodes int

	// PodsPerNode is each node's capacity. Default 110, as a kubelet's.
	PodsPerNode int

	// Namespaces are created before the host is ready. Default "nestling".
	Namespaces []string

	// PodParallelism bounds the status writes of simulated kubelets that are in
	// flight at once. Default 16.
	PodParallelism int

	// Heartbeat is how often a node renews its lease. Default 10 s, a kubelet's.
	Heartbeat time.Duration

	// NodeGrace is how long after the last heartbeat a node counts as lost.
	// Default 50 s, upstream's. At least twice Heartbeat.
	NodeGrace time.Duration

	// Logs receives what KWOK has to warn of. Everything else of the host logs
	// through klog. Default: discarded.
	Logs io.Writer

	// Observe is called when a step of the start is done, with the time it took.
	Observe func(step string, took time.Duration)
}

// maxNodes is what the pod range 10.128.0.0/9 has room for, at a /24 each.
const maxNodes = 5000

func (o Options) complete() (Options, error) {
	setDefault(&o.Nodes, 3)
	setDefault(&o.PodsPerNode, 110)
	setDefault(&o.PodParallelism, 16)
	setDefault(&o.Heartbeat, 10*time.Second)
	setDefault(&o.NodeGrace, max(50*time.Second, 5*o.Heartbeat))
	if o.Namespaces == nil {
		o.Namespaces = []string{"nestling"}
	}
	if o.Logs == nil {
		o.Logs = io.Discard
	}
	if o.Observe == nil {
		o.Observe = func(string, time.Duration) {}
	}
	switch {
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return o, fmt.Errorf("simulated host: nodes: %d is not between 1 and %d", o.Nodes, maxNodes)
	case o.PodsPerNode < 1 || o.PodsPerNode > 250:
		// A /24 of pod IPs, less the ones that tools expect to be special.
		return o, fmt.Errorf("simulated host: pods per node: %d is not between 1 and 250", o.PodsPerNode)
	case o.Heartbeat < time.Second:
		// KWOK counts a lease's duration, four heartbeats, in whole seconds.
		return o, fmt.Errorf("simulated host: heartbeat: %s is less than a second", o.Heartbeat)
	case o.NodeGrace < 2*o.Heartbeat:
		return o, fmt.Errorf("simulated host: node grace %s is less than two heartbeats of %s", o.NodeGrace, o.Heartbeat)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

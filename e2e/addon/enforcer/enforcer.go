// Package enforcer plays the host's network for tests: it makes NetworkPolicies hold
// between the pods of nodes, by iptables rules in the nodes' network namespaces.
//
// It knows what the stories need: selectors of pods and namespaces, CIDRs without
// exceptions, ports by number and, of the pod that is reached, by name. Whatever it does not know lets nothing through.
package enforcer

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// Options of an enforcer. All are required.
type Options struct {
	Host *rest.Config
	// Restore feeds the input to iptables-restore --noflush on every node.
	Restore func(ctx context.Context, input string) error
}

// settle is how long changes are collected before rules are made of them.
const settle = 100 * time.Millisecond

// Start enforces until stop is called. What was enforced last stays.
func Start(ctx context.Context, options Options) (stop func(), err error) {
	host, err := kubernetes.NewForConfig(options.Host)
	if err != nil {
		return nil, fmt.Errorf("enforcer: %w", err)
	}
	changed := make(chan struct{}, 1)
	notice := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	factory := informers.NewSharedInformerFactory(host, 0)
	pods, policies := factory.Core().V1().Pods().Informer(), factory.Networking().V1().NetworkPolicies().Informer()
	for _, informer := range []cache.SharedIndexInformer{pods, policies} {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: notice, UpdateFunc: func(_, object any) { notice(object) }, DeleteFunc: notice,
		})
		if err != nil {
			return nil, fmt.Errorf("enforcer: %w", err)
		}
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	factory.Start(running.Done())
	factory.WaitForCacheSync(ctx.Done())
	// Established connections and answers are let through, then each pod's own chains have
	// their say; a chain that is named is emptied first.
	if err := options.Restore(ctx, "*filter\n:NETPOL - [0:0]\n-I FORWARD -j NETPOL\nCOMMIT\n"); err != nil {
		cancel()
		factory.Shutdown()
		return nil, fmt.Errorf("enforcer: %w", err)
	}
	var loop sync.WaitGroup
	loop.Go(func() {
		last := ""
		for {
			select {
			case <-running.Done():
				return
			case <-changed:
			}
			select {
			case <-running.Done():
				return
			case <-time.After(settle):
			}
			input := Rules(listOf[*corev1.Pod](pods), listOf[*networkingv1.NetworkPolicy](policies))
			if input == last {
				continue
			}
			if err := options.Restore(running, input); err != nil && running.Err() == nil {
				klog.FromContext(ctx).Error(err, "Cannot enforce policies")
				notice(nil)
				continue
			}
			last = input
		}
	})
	return func() {
		cancel()
		loop.Wait()
		factory.Shutdown()
	}, nil
}

func listOf[T any](informer cache.SharedIndexInformer) []T {
	var out []T
	for _, object := range informer.GetStore().List() {
		out = append(out, object.(T))
	}
	return out
}

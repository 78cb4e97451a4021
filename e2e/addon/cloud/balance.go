package cloud

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

const (
	kindService = "Service"
	kindIngress = "Ingress"
	// cleanUp is the finalizer that service controllers put on load balancers.
	cleanUp = "service.kubernetes.io/load-balancer-cleanup"
)

func (c *Cloud) reconcile(ctx context.Context, item work) error {
	index := map[string]cache.Indexer{kindService: c.services, kindIngress: c.ingress}[item.kind]
	object, exists, err := index.GetByKey(item.namespace + "/" + item.name)
	if err != nil || !exists {
		return err
	}
	switch object := object.(type) {
	case *corev1.Service:
		return c.balance(ctx, object.DeepCopy())
	case *networkingv1.Ingress:
		return c.publish(ctx, object.DeepCopy())
	}
	return nil
}

// balance gives a Service its address, or takes it away before the Service goes.
func (c *Cloud) balance(ctx context.Context, service *corev1.Service) error {
	services := c.host.CoreV1().Services(service.Namespace)
	wanted := service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil && service.DeletionTimestamp == nil
	held := slices.Contains(service.Finalizers, cleanUp)
	if wanted && !held {
		service.Finalizers = append(service.Finalizers, cleanUp)
		_, err := services.Update(ctx, service, metav1.UpdateOptions{})
		return err
	}
	if !wanted && !held {
		return nil
	}
	status := corev1.LoadBalancerStatus{}
	if wanted {
		ip := corev1.LoadBalancerIngress{IP: c.addressOf(service), IPMode: new(corev1.LoadBalancerIPModeVIP)}
		status.Ingress = []corev1.LoadBalancerIngress{ip}
	}
	if !equality.Semantic.DeepEqual(status, service.Status.LoadBalancer) {
		service.Status.LoadBalancer = status
		if _, err := services.UpdateStatus(ctx, service, metav1.UpdateOptions{}); err != nil {
			return err
		}
		if wanted {
			c.tell(ctx, service, "v1", kindService, "EnsuredLoadBalancer", fmt.Sprintf("Ensured load balancer of %s/%s", service.Namespace, service.Name))
		}
		return nil
	}
	if !wanted {
		service.Finalizers = slices.DeleteFunc(service.Finalizers, func(name string) bool { return name == cleanUp })
		_, err := services.Update(ctx, service, metav1.UpdateOptions{})
		return err
	}
	return nil
}

func (c *Cloud) addressOf(service *corev1.Service) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.assigned[string(service.UID)]
	if !ok {
		last = c.next
		c.assigned[string(service.UID)] = last
		if c.next++; c.next > 250 {
			c.next = 10
		}
	}
	return fmt.Sprintf(loadBalancerAddress, last)
}

// publish tells where an Ingress of ours is served.
func (c *Cloud) publish(ctx context.Context, ingress *networkingv1.Ingress) error {
	if !ours(ingress) || ingress.DeletionTimestamp != nil {
		return nil
	}
	status := networkingv1.IngressLoadBalancerStatus{Ingress: []networkingv1.IngressLoadBalancerIngress{{IP: IngressAddress}}}
	if equality.Semantic.DeepEqual(status, ingress.Status.LoadBalancer) {
		return nil
	}
	ingress.Status.LoadBalancer = status
	if _, err := c.host.NetworkingV1().Ingresses(ingress.Namespace).UpdateStatus(ctx, ingress, metav1.UpdateOptions{}); err != nil {
		return err
	}
	message := fmt.Sprintf("Serving %s/%s", ingress.Namespace, ingress.Name)
	for _, entry := range ingress.Spec.TLS {
		message += fmt.Sprintf(" with Secret %q", entry.SecretName)
	}
	c.tell(ctx, ingress, networkingv1.SchemeGroupVersion.String(), kindIngress, "Sync", message)
	return nil
}

// tell makes an event, as controllers do: of no consequence if it fails.
func (c *Cloud) tell(ctx context.Context, about interface {
	metav1.Object
	runtime.Object
}, version, kind, reason, message string) {
	now := metav1.Now()
	_, _ = c.host.CoreV1().Events(about.GetNamespace()).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: about.GetName() + "."},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: version, Kind: kind, Namespace: about.GetNamespace(), Name: about.GetName(), UID: about.GetUID(),
		},
		Reason: reason, Message: message, Type: corev1.EventTypeNormal, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "e2e-cloud"},
	}, metav1.CreateOptions{})
}

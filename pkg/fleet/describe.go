package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"nestling.dev/nestling/pkg/deploy"
)

// Description is all there is to say about one tenant.
type Description struct {
	Tenant
	// Server is the URL in the kubeconfig, and Addresses the host's own ways to the API.
	Server    string   `json:"server,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// Volumes are the claims of the control plane.
	Volumes []Volume `json:"volumes,omitempty"`
	// OwnObjects and WorkloadObjects count what the tenant has on the host.
	OwnObjects      int `json:"ownObjects"`
	WorkloadObjects int `json:"workloadObjects"`
	WorkloadPods    int `json:"workloadPods"`
	// Events are the latest warnings about the control plane.
	Events []Event `json:"events,omitempty"`
}

// Volume is a claim of the control plane.
type Volume struct {
	Claim string `json:"claim"`
	Phase string `json:"phase"`
	Size  string `json:"size"`
	Class string `json:"class,omitempty"`
}

// Event is a warning of the host about the control plane.
type Event struct {
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
}

// Describe looks at one tenant from all sides. The error is a *NotFoundError if there is none.
func (f *Fleet) Describe(ctx context.Context, tenant, namespace string) (*Description, error) {
	n := names(tenant, namespace)
	v, err := f.look(ctx, n)
	if err != nil {
		return nil, err
	}
	if v.anchor == nil && v.set == nil && v.pod == nil {
		return nil, f.absent(ctx, n, nil)
	}
	out := &Description{Tenant: tenantOf(v)}
	out.Server, _ = serverOf(v.kubeconfig) // none yet
	var own, workload []item
	err = concurrently(
		func() (err error) { out.Addresses, err = f.addresses(ctx, n); return err },
		func() (err error) { out.Volumes, err = f.ownVolumes(ctx, n); return err },
		func() (err error) { own, workload, err = f.everything(ctx, tenant, namespace); return err },
	)
	if err != nil {
		return nil, err
	}
	out.OwnObjects, out.WorkloadObjects = len(own), len(workload)
	for _, one := range workload {
		if one.Resource == "pods" {
			out.WorkloadPods++
		}
	}
	out.Events = warnings(v.events)
	return out, nil
}

// look reads the control plane once. What is not there is nil.
func (f *Fleet) look(ctx context.Context, n deploy.Names) (view, error) {
	v := view{names: n}
	err := concurrently(
		func() error {
			anchor, err := f.host.CoreV1().ConfigMaps(n.Namespace).Get(ctx, n.Anchor(), metav1.GetOptions{})
			if err == nil && anchor.Labels[deploy.ControlPlaneLabel] == n.Tenant {
				v.anchor = anchor
			}
			return f.unlessAbsent("look for tenant "+n.Tenant, err)
		},
		func() (err error) { v.set, err = f.set(ctx, n); return err },
		func() error {
			pods, err := f.host.CoreV1().Pods(n.Namespace).List(ctx, metav1.ListOptions{LabelSelector: deploy.ControlPlaneLabel + "=" + n.Tenant})
			if err == nil && len(pods.Items) > 0 {
				v.pod = &pods.Items[0]
			}
			return f.unlessAbsent("look at the pod of tenant "+n.Tenant, err)
		},
		func() error {
			secret, err := f.host.CoreV1().Secrets(n.Namespace).Get(ctx, n.Kubeconfig(), metav1.GetOptions{})
			if err == nil {
				v.kubeconfig = secret.Data[deploy.KubeconfigKey]
			}
			return f.failed("read the kubeconfig of tenant "+n.Tenant, optional(err))
		},
		func() error {
			for _, name := range []string{n.Tenant, n.Tenant + "-0"} {
				events, err := f.host.CoreV1().Events(n.Namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("involvedObject.name", name).String()})
				if err != nil {
					return f.failed("read the events of tenant "+n.Tenant, optional(err))
				}
				v.events = append(v.events, events.Items...)
			}
			return nil
		},
	)
	v.events = slices.DeleteFunc(v.events, func(event corev1.Event) bool {
		uid := event.InvolvedObject.UID
		return !(v.set != nil && uid == v.set.UID || v.pod != nil && uid == v.pod.UID)
	})
	if v.pod != nil { // what could not be done once has been done since
		v.events = slices.DeleteFunc(v.events, func(event corev1.Event) bool {
			return event.Reason == "FailedCreate" && when(event).Before(v.pod.CreationTimestamp.Time) ||
				event.Reason == "Unhealthy" && condition(v.pod, corev1.PodReady) // probes of its start
		})
	}
	return v, err
}

func (f *Fleet) unlessAbsent(what string, err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return f.failed(what, err)
}

// addresses are those of the Service in front of the API.
func (f *Fleet) addresses(ctx context.Context, n deploy.Names) ([]string, error) {
	service, err := f.host.CoreV1().Services(n.Namespace).Get(ctx, n.Tenant, metav1.GetOptions{})
	if err != nil {
		return nil, f.failed("read Service "+n.Tenant, optional(err))
	}
	var out []string
	for _, port := range service.Spec.Ports {
		if service.Spec.ClusterIP != "" && service.Spec.ClusterIP != corev1.ClusterIPNone {
			out = append(out, fmt.Sprintf("https://%s:%d", service.Spec.ClusterIP, port.Port))
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			host := ingress.IP
			if host == "" {
				host = ingress.Hostname
			}
			out = append(out, fmt.Sprintf("https://%s:%d", host, port.Port))
		}
		if port.NodePort != 0 {
			out = append(out, fmt.Sprintf("port %d of every node", port.NodePort))
		}
	}
	return out, nil
}

func (f *Fleet) ownVolumes(ctx context.Context, n deploy.Names) ([]Volume, error) {
	claims, err := f.host.CoreV1().PersistentVolumeClaims(n.Namespace).List(ctx, metav1.ListOptions{LabelSelector: deploy.ControlPlaneLabel + "=" + n.Tenant})
	if err != nil {
		return nil, f.failed("list the volumes of tenant "+n.Tenant, optional(err))
	}
	var out []Volume
	for _, claim := range claims.Items {
		size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
		volume := Volume{Claim: claim.Name, Phase: string(claim.Status.Phase), Size: size.String()}
		if claim.Spec.StorageClassName != nil {
			volume.Class = *claim.Spec.StorageClassName
		}
		out = append(out, volume)
	}
	return out, nil
}

// warnings are the latest few.
func warnings(events []corev1.Event) []Event {
	const shown = 5
	var out []Event
	for _, event := range events {
		if event.Type == corev1.EventTypeWarning {
			out = append(out, Event{At: when(event), Reason: event.Reason, Message: event.Message})
		}
	}
	slices.SortFunc(out, func(a, b Event) int { return b.At.Compare(a.At) })
	return out[:min(len(out), shown)]
}

// Kubeconfig returns that of the tenant's administrator, which the tenant keeps on the host.
func (f *Fleet) Kubeconfig(ctx context.Context, tenant, namespace string) ([]byte, error) {
	n := names(tenant, namespace)
	secret, err := f.host.CoreV1().Secrets(namespace).Get(ctx, n.Kubeconfig(), metav1.GetOptions{})
	if err == nil && len(secret.Data[deploy.KubeconfigKey]) > 0 {
		if _, owned := anchorOf(secret.ObjectMeta, n); !owned {
			return nil, &TakenError{Object: fmt.Sprintf("Secret %q", secret.Name), Tenant: tenant, Namespace: namespace}
		}
		return secret.Data[deploy.KubeconfigKey], nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, f.failed(fmt.Sprintf("read Secret %q in namespace %q", n.Kubeconfig(), namespace), err)
	}
	v, err := f.look(ctx, n)
	if err != nil {
		return nil, err
	}
	if v.anchor == nil && v.set == nil {
		return nil, f.absent(ctx, n, nil)
	}
	found := diagnose(v)
	if found.state == Ready {
		return nil, fmt.Errorf("tenant %q in namespace %q has not written its kubeconfig", tenant, namespace)
	}
	return nil, fmt.Errorf("tenant %q in namespace %q has no kubeconfig yet: %s%s", tenant, namespace, found.text, adviceOf(found))
}

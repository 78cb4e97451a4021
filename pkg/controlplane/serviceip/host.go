package serviceip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
	"nestling.dev/nestling/syncer/resource"
)

const (
	// hostTimeout bounds all calls of one allocation. A create through the API server
	// has 34 s.
	hostTimeout = 15 * time.Second
	// reuseWindow is the age up to which a host Service without UID is taken for that
	// of this very request, or of one with the same name at the same time. The syncer
	// sweeps such Services when they are 90 s old; the rest is for clocks that differ.
	reuseWindow = 45 * time.Second
)

const (
	// leaveTimeout is how long a create waits for a Service of this cluster to leave what is
	// asked for, and leaveInterval how often it looks.
	leaveTimeout  = 2 * time.Second
	leaveInterval = 50 * time.Millisecond
)

// maxTries is how often an update of a host Service is tried that others write, too.
const maxTries = 10

// Host is an Allocator that makes Services on the host.
type Host struct {
	// Services of the host.
	Services corev1client.ServicesGetter
	// Translate is the whole host Service of a virtual one, marks included. It is pure.
	// A *resource.Rejection is told to the user.
	Translate func(virtual *corev1.Service) (*corev1.Service, error)
	// Words are what the host says about a Service in the tenant's words. Nil: the names of
	// the Service and of its namespace are replaced.
	Words func(virtual *corev1.Service, text string) string
	// FieldManager is the syncer's.
	FieldManager string
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

var _ Allocator = &Host{}

// Allocate is part of Allocator.
func (h *Host) Allocate(ctx context.Context, virtual *corev1.Service, dryRun bool) (*corev1.Service, error) {
	desired, err := h.Translate(virtual)
	if err != nil {
		return nil, untranslatable(virtual, err)
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	call := &allocation{
		Host: h, virtual: virtual, desired: desired,
		services: h.Services.Services(desired.Namespace),
	}
	if dryRun {
		call.dryRun = []string{metav1.DryRunAll}
	}
	host, err := call.do(ctx)
	var own refusal
	if errors.As(err, &own) {
		return nil, own.status
	}
	if err != nil {
		return nil, h.words(virtual, desired).Error(err)
	}
	return host, nil
}

func (h *Host) words(virtual, desired *corev1.Service) hosttext.Words {
	if h.Words != nil {
		return func(text string) string { return h.Words(virtual, text) }
	}
	return hosttext.Names{{Host: desired.Name, Virtual: virtual.Name}, {Host: desired.Namespace, Virtual: virtual.Namespace}}.Replace
}

func untranslatable(virtual *corev1.Service, err error) error {
	var rejection *resource.Rejection
	if errors.As(err, &rejection) {
		return apierrors.NewForbidden(corev1.Resource("services"), virtual.Name, errors.New(rejection.Message))
	}
	return apierrors.NewInternalError(err)
}

// allocation is one call of Allocate.
type allocation struct {
	*Host
	virtual, desired *corev1.Service
	services         corev1client.ServiceInterface
	dryRun           []string
}

func (a *allocation) do(ctx context.Context) (*corev1.Service, error) {
	if a.virtual.UID == "" {
		return a.create(ctx)
	}
	a.markAdmission()
	live, err := a.services.Get(ctx, a.desired.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return a.create(ctx) // headless or ExternalName until now
	}
	if err != nil {
		return nil, err
	}
	return a.update(ctx, live)
}

// markAdmission lets the syncer know that the host is ahead of the virtual Service that it
// knows, so that it does not bring the host back to that.
func (a *allocation) markAdmission() {
	annotations := map[string]string{resource.AnnotationAdmission: a.virtual.ResourceVersion + " " + a.now().UTC().Format(time.RFC3339)}
	maps.Copy(annotations, a.desired.Annotations)
	a.desired.Annotations = annotations
}

func (a *allocation) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

func (a *allocation) create(ctx context.Context) (*corev1.Service, error) {
	host, err := a.post(ctx)
	// A namesake that the syncer has yet to delete may have the very address or node port that
	// is asked for, which an API server looks at before the name.
	taken := apierrors.IsInvalid(err) && len(a.dryRun) == 0
	if !apierrors.IsAlreadyExists(err) && !taken {
		return host, err
	}
	live, err := a.services.Get(ctx, a.desired.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return a.postOnceFree(ctx) // it has gone in between, or never was
	}
	if err != nil {
		return nil, err
	}
	if a.virtual.UID != "" || a.inAdmission(live) {
		return a.update(ctx, live)
	}
	return a.replace(ctx, live)
}

// postOnceFree waits a little for what is asked for, if another host Service of this cluster has
// it: that one's virtual Service may be gone already, and the syncer about to delete it. One
// that has just gone may have it still: upstream's API server frees it after the deletion.
func (a *allocation) postOnceFree(ctx context.Context) (host *corev1.Service, err error) {
	waiting, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	free := false // at the last look
	_ = wait.PollUntilContextCancel(waiting, leaveInterval, true, func(context.Context) (bool, error) {
		last := free
		host, err = a.post(ctx)
		if last || !apierrors.IsInvalid(err) {
			return true, nil
		}
		held, listErr := a.heldByOurs(ctx)
		free = !held
		return listErr != nil, nil
	})
	return host, err
}

// heldByOurs reports whether a host Service of this cluster has an address or a node port that
// is asked for.
func (a *allocation) heldByOurs(ctx context.Context) (bool, error) {
	selector := labels.SelectorFromSet(labels.Set{resource.LabelTenant: a.desired.Labels[resource.LabelTenant]})
	ours, err := a.services.List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return false, err
	}
	asked := given(a.desired)
	return slices.ContainsFunc(ours.Items, func(live corev1.Service) bool {
		return live.Annotations[resource.AnnotationIdentity] == a.desired.Annotations[resource.AnnotationIdentity] && given(&live).HasAny(asked.UnsortedList()...)
	}), nil
}

// given are the addresses and node ports in a Service.
func given(service *corev1.Service) sets.Set[string] {
	out := sets.New(service.Spec.ClusterIPs...)
	out.Insert(service.Spec.ClusterIP, fmt.Sprint(service.Spec.HealthCheckNodePort))
	for _, port := range service.Spec.Ports {
		out.Insert(fmt.Sprint(port.NodePort))
	}
	return out.Delete("", corev1.ClusterIPNone, "0")
}

// inAdmission tells a host Service that this request made before (admission may run
// twice), or another with the same name that runs at the same time: one of them wins.
func (a *allocation) inAdmission(live *corev1.Service) bool {
	return live.Annotations[resource.AnnotationUID] == "" && a.now().Sub(live.CreationTimestamp.Time) < reuseWindow
}

// replace deletes the host Service of a virtual one that is gone, or never came, and
// makes a new one, as one cluster would: the name is the same, the Service is not.
func (a *allocation) replace(ctx context.Context, live *corev1.Service) (*corev1.Service, error) {
	if err := a.mine(live); err != nil {
		return nil, err
	}
	if len(a.dryRun) > 0 {
		// It cannot be tried whether the name is free once it is. An address of the
		// right form is all that a dry run promises.
		return live, nil
	}
	err := a.services.Delete(ctx, live.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &live.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	host, err := a.post(ctx)
	if apierrors.IsAlreadyExists(err) { // it has finalizers: of a load balancer, say
		return nil, a.conflict("a Service of this name was deleted, and the host is still cleaning up after it; try again")
	}
	return host, err
}

// update brings the host Service to the desired spec. What the syncer keeps beside it,
// such as labels, is left to the syncer.
//
// It is made of live and holds for live only: the syncer may be writing what the virtual
// Service was before, and the host's controllers write, too. (Where two writes of a
// Service meet, upstream's API server can lose track of node ports for minutes: it takes
// them before it knows which of the two has won.)
func (a *allocation) update(ctx context.Context, live *corev1.Service) (*corev1.Service, error) {
	for try := 1; ; try++ {
		if err := a.mine(live); err != nil {
			return nil, err
		}
		patch, err := specPatch(live, a.desired)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		host, err := a.services.Patch(ctx, live.Name, types.MergePatchType, patch, metav1.PatchOptions{DryRun: a.dryRun, FieldManager: a.FieldManager})
		if !apierrors.IsConflict(err) || try == maxTries {
			return host, err
		}
		if live, err = a.services.Get(ctx, a.desired.Name, metav1.GetOptions{}); err != nil {
			return nil, err
		}
	}
}

func (a *allocation) post(ctx context.Context) (*corev1.Service, error) {
	return a.services.Create(ctx, a.desired, metav1.CreateOptions{DryRun: a.dryRun, FieldManager: a.FieldManager})
}

// mine is an error if live is not the host Service of this very virtual one, or is
// about to go.
func (a *allocation) mine(live *corev1.Service) error {
	same := live.Labels[resource.LabelTenant] == a.desired.Labels[resource.LabelTenant]
	for _, key := range []string{resource.AnnotationKind, resource.AnnotationIdentity, resource.AnnotationNamespace, resource.AnnotationName} {
		same = same && live.Annotations[key] == a.desired.Annotations[key]
	}
	switch {
	case !same:
		return a.conflict("the name is taken on the host by an object that is not this cluster's; delete it there, or use another name here")
	case live.DeletionTimestamp != nil:
		return a.conflict("the host is still deleting the former Service of this name; try again")
	}
	return nil
}

// refusal is an error of our own: it is in the tenant's names already.
type refusal struct{ status *apierrors.StatusError }

func (r refusal) Error() string { return r.status.Error() }

func (a *allocation) conflict(reason string) error {
	return refusal{apierrors.NewConflict(corev1.Resource("services"), a.virtual.Name, errors.New(reason))}
}

// specPatch is the JSON merge patch from the spec of live to that of desired, on the
// condition that live is still what there is. Addresses that desired has none of are kept by the host
// itself, as it keeps them on every update that leaves them out.
func specPatch(live, desired *corev1.Service) ([]byte, error) {
	type part struct {
		Spec corev1.ServiceSpec `json:"spec"`
	}
	before, err := json.Marshal(part{live.Spec})
	if err != nil {
		return nil, fmt.Errorf("encode the host Service: %w", err)
	}
	after, err := json.Marshal(part{desired.Spec})
	if err != nil {
		return nil, fmt.Errorf("encode the host Service: %w", err)
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(before, after, before)
	if err != nil {
		return nil, fmt.Errorf("compare the host Service: %w", err)
	}
	content := map[string]any{}
	if err := json.Unmarshal(patch, &content); err != nil {
		return nil, fmt.Errorf("compare the host Service: %w", err)
	}
	metadata := map[string]any{"uid": live.UID, "resourceVersion": live.ResourceVersion}
	if mark, ok := desired.Annotations[resource.AnnotationAdmission]; ok {
		metadata["annotations"] = map[string]string{resource.AnnotationAdmission: mark}
	}
	content["metadata"] = metadata
	return json.Marshal(content)
}

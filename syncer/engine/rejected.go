package engine

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

// ownRights finds a refusal that is about the account that the syncer has on the host.
var ownRights = regexp.MustCompile(`: User ".*" cannot (\S+) resource "([^"]+)"`)

// tellFailure tells an object's user why the host has not what it should have: at once
// what it was refused for, and after some patience that the host does not answer.
func (e *Engine) tellFailure(ctx context.Context, kind *syncedKind, virtual resource.Object, action plan.Action, err error) {
	if virtual == nil || action.Side != plan.Host || action.Verb == plan.Delete {
		return
	}
	var answer apierrors.APIStatus
	code := int32(0)
	if errors.As(err, &answer) {
		code = answer.Status().Code
	}
	switch {
	case code == http.StatusForbidden && ownRights.MatchString(err.Error()):
		found := ownRights.FindStringSubmatch(err.Error())
		e.reject(ctx, kind, virtual, action, "this cluster's own account may not "+found[1]+" "+found[2]+" on the host cluster; whoever runs it must grant that")
	case code >= 400 && code < 500 && code != http.StatusUnauthorized && code != http.StatusNotFound &&
		code != http.StatusConflict && code != http.StatusTooManyRequests:
		e.reject(ctx, kind, virtual, action, e.words(kind, virtual, err.Error()))
	case isOutcome(err):
	case action.Verb == plan.Create && e.options.Now().Sub(virtual.GetCreationTimestamp().Time) >= plan.Patience:
		// In no words of the host's: they may be about its addresses.
		text := "not on the host yet: the host cluster fails to take it, which is tried again"
		if code == 0 || code == http.StatusServiceUnavailable {
			text = "not on the host yet: the host cluster's API does not answer"
		}
		if now := e.options.Now(); !kind.told.Is(ReasonWaiting+"/"+string(virtual.GetUID()), []byte(text), now) {
			kind.told.Note(ReasonWaiting+"/"+string(virtual.GetUID()), []byte(text), now)
			e.options.Recorder.Event(virtual, corev1.EventTypeWarning, ReasonWaiting, text)
		}
		e.sayAbsent(ctx, kind, virtual, ReasonWaiting, text)
	}
}

func (e *Engine) reject(ctx context.Context, kind *syncedKind, virtual resource.Object, action plan.Action, text string) {
	e.options.Recorder.Event(virtual, corev1.EventTypeWarning, ReasonRejected, text)
	e.outcomes.Note(virtual.GetUID(), action, text, e.options.Now())
	if action.Verb == plan.Create {
		e.sayAbsent(ctx, kind, virtual, ReasonRejected, text)
	}
}

// TellRefusal tells a pod's user that the host does not take what is made for the pod, its
// tokens, without which the pod waits.
func (e *Engine) TellRefusal(ctx context.Context, pod *corev1.Pod, err error) {
	if kind, ok := e.kinds["pods"]; ok {
		e.tellFailure(ctx, kind, pod, plan.Action{Side: plan.Host, Verb: plan.Patch}, err)
	}
}

// sayAbsent has the virtual object itself say that the host has none of it. It is said once
// more with the next attempt, if it can't be now.
func (e *Engine) sayAbsent(ctx context.Context, kind *syncedKind, virtual resource.Object, reason, text string) {
	for _, action := range plan.Absent(e.Env(), kind.Kind, virtual, reason, text) {
		if _, err := e.execute(ctx, kind, resource.KeyOf(virtual), virtual, action); err != nil {
			klog.FromContext(ctx).V(2).Info("Can't say that the host has no such object", "kind", kind.Name, "namespace", virtual.GetNamespace(), "name", virtual.GetName(), "err", err)
		}
	}
}

// Reasons of events.
const (
	ReasonRejected = plan.ReasonRejected
	ReasonWaiting  = plan.ReasonWaiting
)

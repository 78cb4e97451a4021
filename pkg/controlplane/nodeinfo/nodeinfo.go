// Package nodeinfo tells, with who a ServiceAccount's token of a pod is, on which node the
// pod runs: the extra fields authentication.kubernetes.io/node-name and node-uid (KEP-4193).
//
// A kubelet asks for a token when its pod has a node, and the token says which. The syncer
// asks before, so that the pod's first container need not wait for it. A pod never changes
// its node, and a token ends with its pod: the pod's own spec says the same.
package nodeinfo

import (
	"context"
	"maps"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Source finds a pod, as new as it is there, and a node. Errors mean that nothing is told.
type Source struct {
	Pod  func(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	Node func(ctx context.Context, name string) (*corev1.Node, error)
}

// Wrap adds the fields to what inner finds out.
func Wrap(inner authenticator.Request, source Source) authenticator.Request {
	return authenticator.RequestFunc(func(request *http.Request) (*authenticator.Response, bool, error) {
		response, ok, err := inner.AuthenticateRequest(request)
		if !ok || err != nil || response == nil {
			return response, ok, err
		}
		if told := source.tell(request.Context(), response.User); told != nil {
			out := *response // inner may hand the same to others
			out.User = told
			response = &out
		}
		return response, ok, err
	})
}

// tell is who with the fields; nil where there is nothing to add.
func (s Source) tell(ctx context.Context, who user.Info) user.Info {
	namespace, account, err := serviceaccount.SplitUsername(who.GetName())
	if err != nil {
		return nil
	}
	extra := who.GetExtra()
	names, uids := extra[serviceaccount.PodNameKey], extra[serviceaccount.PodUIDKey]
	if len(names) != 1 || len(uids) != 1 || len(extra[serviceaccount.NodeNameKey]) > 0 {
		return nil
	}
	pod, err := s.Pod(ctx, namespace, names[0])
	if err != nil || string(pod.UID) != uids[0] || pod.Spec.NodeName == "" || pod.Spec.ServiceAccountName != account {
		return nil
	}
	extra = maps.Clone(extra)
	extra[serviceaccount.NodeNameKey] = []string{pod.Spec.NodeName}
	if node, err := s.Node(ctx, pod.Spec.NodeName); err == nil {
		extra[serviceaccount.NodeUIDKey] = []string{string(node.UID)}
	}
	return &user.DefaultInfo{Name: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups(), Extra: extra}
}

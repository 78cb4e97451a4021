package nodeinfo

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

var errNotFound = errors.New("not found")

func source() Source {
	pods := map[string]*corev1.Pod{
		"shop/web":   {ObjectMeta: metav1.ObjectMeta{UID: "pod-1"}, Spec: corev1.PodSpec{NodeName: "node-1", ServiceAccountName: "web"}},
		"shop/new":   {ObjectMeta: metav1.ObjectMeta{UID: "pod-2"}, Spec: corev1.PodSpec{ServiceAccountName: "web"}},
		"shop/stray": {ObjectMeta: metav1.ObjectMeta{UID: "pod-3"}, Spec: corev1.PodSpec{NodeName: "node-9", ServiceAccountName: "web"}},
	}
	return Source{
		Pod: func(_ context.Context, namespace, name string) (*corev1.Pod, error) {
			if pod, ok := pods[namespace+"/"+name]; ok {
				return pod, nil
			}
			return nil, errNotFound
		},
		Node: func(_ context.Context, name string) (*corev1.Node, error) {
			if name == "node-1" {
				return &corev1.Node{ObjectMeta: metav1.ObjectMeta{UID: "uid-1"}}, nil
			}
			return nil, errNotFound
		},
	}
}

func of(name, uid string) map[string][]string {
	return map[string][]string{serviceaccount.PodNameKey: {name}, serviceaccount.PodUIDKey: {uid}}
}

func TestTell(t *testing.T) {
	t.Parallel()
	const web = "system:serviceaccount:shop:web"
	for name, c := range map[string]struct {
		user  string
		extra map[string][]string
		want  []string // name and UID of the node
	}{
		"a pod's token":                    {web, of("web", "pod-1"), []string{"node-1", "uid-1"}},
		"a pod on a node that is gone":     {web, of("stray", "pod-3"), []string{"node-9"}},
		"a pod without a node":             {web, of("new", "pod-2"), nil},
		"a pod that is gone":               {web, of("old", "pod-0"), nil},
		"another pod of the name":          {web, of("web", "pod-0"), nil},
		"another account":                  {"system:serviceaccount:shop:other", of("web", "pod-1"), nil},
		"another namespace":                {"system:serviceaccount:other:web", of("web", "pod-1"), nil},
		"no pod":                           {web, nil, nil},
		"somebody with fields of that key": {"jane", of("web", "pod-1"), nil},
	} {
		inner := &authenticator.Response{User: &user.DefaultInfo{Name: c.user, UID: "u", Groups: []string{"g"}, Extra: c.extra}}
		before := len(c.extra)
		response, ok, err := Wrap(authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return inner, true, nil
		}), source()).AuthenticateRequest(&http.Request{})
		require.NoError(t, err)
		require.True(t, ok)
		var got []string
		for _, key := range []string{serviceaccount.NodeNameKey, serviceaccount.NodeUIDKey} {
			got = append(got, response.User.GetExtra()[key]...)
		}
		require.Empty(t, cmp.Diff(c.want, got), name)
		require.Len(t, inner.User.GetExtra(), before, "what the inner one keeps is not touched")
		require.Equal(t, []any{c.user, "u", []string{"g"}}, []any{response.User.GetName(), response.User.GetUID(), response.User.GetGroups()}, name)
	}
}

// A token that says itself which node it is for is believed: it is signed.
func TestTokensThatSayIt(t *testing.T) {
	t.Parallel()
	extra := of("web", "pod-1")
	extra[serviceaccount.NodeNameKey] = []string{"node-2"}
	require.Nil(t, source().tell(t.Context(), &user.DefaultInfo{Name: "system:serviceaccount:shop:web", Extra: extra}))
}

func TestRefusalsPass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ok  bool
		err error
	}{{false, nil}, {false, errNotFound}} {
		_, ok, err := Wrap(authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return nil, c.ok, c.err
		}), source()).AuthenticateRequest(&http.Request{})
		require.Equal(t, c.ok, ok)
		require.Equal(t, c.err, err)
	}
}

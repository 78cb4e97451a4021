package stories

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func tokens() []Story {
	return []Story{
		{Name: "a pod's tokens are bound to it, for the audience and time that it asks for", Run: boundTokens},
		{Name: "a pod talks to its own API server, and the host's turns it away", Real: true, Run: tokenInside},
		{Name: "a token is renewed in its file, and the old one stays good", Real: true, Run: rotation},
		{Name: "a token Secret of the old kind works where it is mounted", Real: true, Run: legacyToken},
	}
}

const tokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// claims is what a token says.
type claims struct {
	Issuer     string   `json:"iss"`
	Subject    string   `json:"sub"`
	Audiences  []string `json:"aud"`
	Expires    int64    `json:"exp"`
	IssuedAt   int64    `json:"iat"`
	Kubernetes struct {
		Namespace      string
		Pod            struct{ Name, UID string }
		ServiceAccount struct{ Name, UID string }
	} `json:"kubernetes.io"`
}

func decodeToken(t *testing.T, token string) claims {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3, "a token has three parts")
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var out claims
	require.NoError(t, json.Unmarshal(data, &out))
	return out
}

// hostTokens are the tokens of a pod, by the path of their file in the pod: the host
// Secret has what the files have.
func hostTokens(t *testing.T, w *World, tenant *Tenant, pod *corev1.Pod) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, volume := range hostPodOf(t, w, tenant, pod).Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			require.Nil(t, source.ServiceAccountToken, "no token of the host's")
			if source.Secret == nil {
				continue
			}
			secret, err := w.Host.CoreV1().Secrets(w.HostNamespace).Get(t.Context(), source.Secret.Name, metav1.GetOptions{})
			require.NoError(t, err)
			for _, item := range source.Secret.Items {
				out[item.Path] = string(secret.Data[item.Key])
			}
		}
	}
	return out
}

// holder is a client with nothing but a token, of the tenant's API or of the host's.
func holder(t *testing.T, config *rest.Config, token string) kubernetes.Interface {
	t.Helper()
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func whoAmI(t *testing.T, client kubernetes.Interface) (authenticationv1.UserInfo, error) {
	t.Helper()
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

const twoTokens = `
metadata: {name: holder}
spec:
  serviceAccountName: robot
  containers:
  - {name: main, image: IMAGE, volumeMounts: [{name: vault, mountPath: /vault}]}
  - {name: nobody, image: IMAGE, securityContext: {runAsUser: 65534, runAsGroup: 65534}, env: [{name: HOME, value: /tmp}]}
  volumes:
  - {name: vault, projected: {sources: [{serviceAccountToken: {path: vault-token, audience: vault, expirationSeconds: 600}}]}}
`

func createRobot(t *testing.T, tenant *Tenant, namespace string) *corev1.ServiceAccount {
	t.Helper()
	account, err := tenant.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return account
}

func boundTokens(t *testing.T, w *World) {
	space := namespace(t, w.A, "bound")
	account := createRobot(t, w.A, space)
	pod := runPod(t, w, w.A, space, twoTokens)
	found := hostTokens(t, w, w.A, pod)
	require.Len(t, found, 2)

	access := decodeToken(t, found["token"])
	require.Equal(t, []string{access.Issuer}, access.Audiences, "the API server's")
	require.EqualValues(t, 3607, access.Expires-access.IssuedAt, "what the admission plugin asks for")
	vault := decodeToken(t, found["vault-token"])
	require.Equal(t, []string{"vault"}, vault.Audiences)
	require.EqualValues(t, 600, vault.Expires-vault.IssuedAt)
	for _, token := range []claims{access, vault} {
		require.Equal(t, "system:serviceaccount:"+space+":robot", token.Subject)
		require.Equal(t, space, token.Kubernetes.Namespace)
		require.Equal(t, string(account.UID), token.Kubernetes.ServiceAccount.UID)
		require.Equal(t, "holder", token.Kubernetes.Pod.Name)
		require.Equal(t, string(pod.UID), token.Kubernetes.Pod.UID)
	}

	user, err := whoAmI(t, holder(t, w.A.Config, found["token"]))
	require.NoError(t, err)
	require.Equal(t, "system:serviceaccount:"+space+":robot", user.Username)
	require.Equal(t, authenticationv1.ExtraValue{"holder"}, user.Extra["authentication.kubernetes.io/pod-name"])
	_, err = whoAmI(t, holder(t, w.A.Config, found["vault-token"]))
	require.True(t, apierrors.IsUnauthorized(err), "a token for another audience: %v", err)
	review, err := w.A.Client.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: found["vault-token"], Audiences: []string{"vault"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.True(t, review.Status.Authenticated, "vault can review it: %s", review.Status.Error)
	// The tokens are older than the pod's node.
	node, err := w.A.Client.CoreV1().Nodes().Get(t.Context(), pod.Spec.NodeName, metav1.GetOptions{})
	require.NoError(t, err)
	for _, extra := range []map[string]authenticationv1.ExtraValue{user.Extra, review.Status.User.Extra} {
		require.Equal(t, authenticationv1.ExtraValue{node.Name}, extra["authentication.kubernetes.io/node-name"])
		require.Equal(t, authenticationv1.ExtraValue{string(node.UID)}, extra["authentication.kubernetes.io/node-uid"])
	}
	for name, config := range map[string]*rest.Config{"the host": w.HostConfig, "the other tenant": w.B.Config} {
		_, err = whoAmI(t, holder(t, config, found["token"]))
		require.True(t, apierrors.IsUnauthorized(err), "%s: %v", name, err)
	}

	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "holder", metav1.DeleteOptions{}))
	eventually(t, "the token of a pod that is gone is refused", func(context.Context) (bool, string) {
		_, err := whoAmI(t, holder(t, w.A.Config, found["token"]))
		return apierrors.IsUnauthorized(err), errText(err)
	})
	waitHostConfiguration(t, w, space)
}

func tokenInside(t *testing.T, w *World) {
	space := namespace(t, w.A, "inside")
	createRobot(t, w.A, space)
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: space, Name: "robot"}}
	_, err := w.A.Client.RbacV1().RoleBindings(space).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view"}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod := runPod(t, w, w.A, space, twoTokens)
	require.Equal(t, shell(t, w.A, pod, "", "cat "+tokenFile), hostTokens(t, w, w.A, pod)["token"])

	const curl = `curl -sS -m 10 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat ` + tokenFile + `)" `
	// kubectl finds the API server by KUBERNETES_SERVICE_HOST, and trusts the CA beside
	// the token.
	require.Equal(t, "system:serviceaccount:"+space+":robot", shell(t, w.A, pod, "", "kubectl auth whoami -o jsonpath={.status.userInfo.username}"))
	require.Equal(t, "system:serviceaccount:"+space+":robot", shell(t, w.A, pod, "nobody", "kubectl auth whoami -o jsonpath={.status.userInfo.username}"), "root is not needed to read it")
	require.Equal(t, "holder", shell(t, w.A, pod, "", "kubectl get pods -o jsonpath={.items[*].metadata.name}"))
	out, err := tryShell(t.Context(), w.A, pod, "", "kubectl get pods -n kube-system")
	require.Error(t, err)
	require.Contains(t, out, `User "system:serviceaccount:`+space+`:robot" cannot list resource "pods"`)
	require.Equal(t, "200", shell(t, w.A, pod, "", curl+"--cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/"+space+"/pods"))

	host, err := w.Host.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "401", shell(t, w.A, pod, "", curl+"--insecure https://"+host.Spec.ClusterIP+"/api/v1/namespaces/"+w.HostNamespace+"/pods"))
}

func rotation(t *testing.T, w *World) {
	if w.Rotating == nil {
		t.Skip("no tenant here renews its tokens early")
	}
	space := namespace(t, w.Rotating, "rotation")
	createRobot(t, w.Rotating, space)
	pod := runPod(t, w, w.Rotating, space, strings.Replace(twoTokens, "audience: vault, ", "", 1)) // for the API server
	read := func() string { return shell(t, w.Rotating, pod, "", "cat /vault/vault-token") }
	first, began := read(), time.Now()
	eventually(t, "another token in the file", func(ctx context.Context) (bool, string) {
		out, err := tryShell(ctx, w.Rotating, pod, "", "cat /vault/vault-token")
		return err == nil && out != "" && out != first, errText(err)
	})
	second := read()
	t.Logf("renewed after %v", time.Since(began).Round(time.Second))
	before, after := decodeToken(t, first), decodeToken(t, second)
	require.Greater(t, after.IssuedAt, before.IssuedAt)
	require.EqualValues(t, 600, after.Expires-after.IssuedAt)
	require.Equal(t, before.Kubernetes, after.Kubernetes)
	for name, token := range map[string]string{"old": first, "new": second} {
		_, err := whoAmI(t, holder(t, w.Rotating.Config, token))
		require.NoError(t, err, name)
	}
	require.Zero(t, containerStatus(pod, "main").RestartCount)

	require.NoError(t, w.Rotating.Client.CoreV1().Pods(space).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}))
	eventually(t, "both tokens are refused", func(context.Context) (bool, string) {
		_, firstErr := whoAmI(t, holder(t, w.Rotating.Config, first))
		_, secondErr := whoAmI(t, holder(t, w.Rotating.Config, second))
		return apierrors.IsUnauthorized(firstErr) && apierrors.IsUnauthorized(secondErr), errText(firstErr) + errText(secondErr)
	})
}

func legacyToken(t *testing.T, w *World) {
	space := namespace(t, w.A, "legacy")
	createRobot(t, w.A, space)
	createConfiguration(t, w, w.A, space, `Secret
metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
`)
	pod := runPod(t, w, w.A, space, `
metadata: {name: old}
spec:
  automountServiceAccountToken: false
  containers: [{name: main, image: IMAGE, volumeMounts: [{name: token, mountPath: /token}]}]
  volumes: [{name: token, secret: {secretName: robot-token}}]
`)
	eventuallyShell(t, w.A, pod, "ls /token", "ca.crt\nnamespace\ntoken")
	require.Equal(t, space, shell(t, w.A, pod, "", "cat /token/namespace"))
	require.Equal(t, "system:serviceaccount:"+space+":robot", shell(t, w.A, pod, "",
		"kubectl --server=https://$KUBERNETES_SERVICE_HOST --certificate-authority=/token/ca.crt --token=$(cat /token/token) auth whoami -o jsonpath={.status.userInfo.username}"))
	_, err := whoAmI(t, holder(t, w.HostConfig, shell(t, w.A, pod, "", "cat /token/token")))
	require.True(t, apierrors.IsUnauthorized(err), "the host: %v", err)
	waitHostConfiguration(t, w, space, "secret robot-token Opaque")
}

package stories

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/syncer/naming"
)

// attacks are what somebody with all rights in a tenant may try against the host and the
// other tenants, beside what the stories of tenancy and network tell. What the API server
// itself connects to is a test of package controlplane.
func attacks() []Story {
	return []Story{
		{Name: "objects named like the host's own take the place of none", Run: namesakes},
		{Name: "paths with dots and slashes of every spelling lead nowhere", Run: rawPaths},
		{Name: "nodes that a tenant makes, and bindings to them, open no way", Run: forgedNodes},
		{Name: "claims reach no other tenant's data", Run: stolenClaims},
		{Name: "mirrors that a tenant edits or deletes are put back", Alone: true, Run: editedMirrors},
		{Name: "the API server connects nowhere special for its users", Run: wayOut},
		{Name: "what makes the cluster what it is cannot be deleted", Alone: true, Run: foundations},
		{Name: "what the host puts into a pod cannot be entered", Run: injectedContainer},
		{Name: "names and annotations may be as long as they may", Run: longest},
		{Name: "a pod may have of its node what the host's Pod Security lets it, and hears what not", Alone: true, Run: podSecurity},
	}
}

// namesakes takes every name that counts in the host namespace.
func namesakes(t *testing.T, w *World) {
	space := namespace(t, w.A, "namesake")
	victims := namespace(t, w.B, "victims")
	_, err := w.B.Client.CoreV1().Secrets(victims).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "key", Annotations: map[string]string{"nestling.dev/sync": "true"}}, StringData: map[string]string{"whose": "theirs"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	theirs := naming.Host(w.B.Name, victims, "key")
	secrets := w.Host.CoreV1().Secrets(w.HostNamespace)
	eventually(t, "the victim's Secret on the host", func(ctx context.Context) (bool, string) {
		_, err := secrets.Get(ctx, theirs, metav1.GetOptions{})
		return err == nil, errText(err)
	})
	before := w.hostObjects(t)
	require.Contains(t, before, "Secret "+w.B.Name+"-pki")
	sync := map[string]string{"nestling.dev/sync": "true", "nestling.dev/name": "key", "nestling.dev/namespace": victims}
	for _, name := range []string{theirs, w.A.Name + "-pki", w.A.Name + "-kubeconfig", w.B.Name + "-pki", w.B.Name + "-kubeconfig"} {
		_, err := w.A.Client.CoreV1().Secrets(space).Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: sync}, StringData: map[string]string{"whose": "mine"}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	for _, name := range []string{w.A.Name, w.B.Name, "kubernetes"} {
		_, err := w.A.Client.CoreV1().ConfigMaps(space).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: sync}}, metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w, "{metadata: {name: "+name+"}, spec: {selector: {a: b}, ports: [{port: 443}]}}"), metav1.CreateOptions{})
		require.NoError(t, err)
	}
	eventually(t, "the namesakes on the host", func(ctx context.Context) (bool, string) {
		for _, name := range []string{theirs, w.A.Name + "-pki", w.B.Name + "-kubeconfig"} {
			made, err := secrets.Get(ctx, naming.Host(w.A.Name, space, name), metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			require.Equal(t, "mine", string(made.Data["whose"]))
			require.Equal(t, space, made.Annotations["nestling.dev/namespace"])
		}
		return true, ""
	})
	require.Equal(t, before, w.hostObjects(t))
}

// hostObjects are the host's own of tenants A and B, as far as they matter. Others come and
// go: a third tenant may be on its way in.
func (w *World) hostObjects(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	note := func(kind string, meta metav1.ObjectMeta) {
		if meta.Labels["nestling.dev/tenant"] != "" {
			return
		}
		for _, tenant := range []string{w.A.Name, w.B.Name} {
			if meta.Name == tenant || strings.HasPrefix(meta.Name, tenant+"-") {
				out[kind+" "+meta.Name] = string(meta.UID)
			}
		}
	}
	secrets, err := w.Host.CoreV1().Secrets(w.HostNamespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, object := range secrets.Items {
		note("Secret", object.ObjectMeta)
		if object.Name == w.B.Name+"-pki" {
			out["content of Secret "+object.Name] = asJSON(object.Data)
		}
	}
	services, err := w.Host.CoreV1().Services(w.HostNamespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, object := range services.Items {
		note("Service", object.ObjectMeta)
		if object.Name == w.A.Name || object.Name == w.B.Name {
			out["spec of Service "+object.Name] = asJSON(object.Spec)
		}
	}
	return out
}

// rawPaths sends paths as they are written, past every client that would tidy them up.
func rawPaths(t *testing.T, w *World) {
	space := namespace(t, w.A, "paths")
	pod := runPod(t, w, w.A, space, `
metadata: {name: own}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	victims := namespace(t, w.B, "paths-victim")
	victim := runPod(t, w, w.B, victims, `
metadata: {name: victim}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	host := hostPodOf(t, w, w.B, victim)
	node := pod.Spec.NodeName
	targets := []string{
		"/api/v1/namespaces/" + w.HostNamespace + "/secrets", "/api/v1/namespaces/" + w.HostNamespace + "/pods/" + host.Name + "/log",
		"/containerLogs/" + w.HostNamespace + "/" + host.Name + "/main", "/pods", "/metrics", "/configz",
	}
	for _, name := range []string{node, node + ":10250", "https:" + node + ":10250", "https:" + node + ":443", node + ":2379", "http:" + node + ":10255"} {
		proxy := "/api/v1/nodes/" + name + "/proxy"
		for _, target := range targets {
			for _, path := range []string{
				proxy + target, proxy + "/" + target, proxy + "/.." + target, proxy + "/../.." + target,
				proxy + "/%2e%2e" + target, proxy + "/%2e%2e%2f%2e%2e" + target, proxy + "/..%2f..%2f.." + target,
				proxy + "/." + target, proxy + "/%2f" + target, proxy + "/" + url.PathEscape(target),
				proxy + "/containerLogs/" + space + "/own/..%2f..%2f.." + target,
				proxy + "/containerLogs/" + space + "%2f..%2f" + w.HostNamespace + "/" + host.Name + "/main",
				proxy + "/containerLogs/" + space + "/..%2f" + host.Name + "/main",
				proxy + "/containerLogs/" + space + "/own/main%2f..%2f..%2f" + host.Name,
				proxy + "/logs/..%2f..%2fetc%2fpasswd",
			} {
				status, body := rawGet(t, w.A, path)
				require.True(t, status >= 300 && status != http.StatusInternalServerError, "GET %s: %d %.200s", path, status, body)
			}
		}
	}
	// The pod's own proxies, and those of a Service, stay with the pod and the Service.
	for _, path := range []string{
		"/api/v1/namespaces/" + space + "/pods/..%2f..%2f" + w.HostNamespace + "%2fpods%2f" + host.Name + "/log",
		"/api/v1/namespaces/" + space + "%2f..%2f" + w.HostNamespace + "/pods/" + host.Name + "/log",
		"/api/v1/namespaces/" + w.HostNamespace + "/pods/" + host.Name + "/proxy/",
		"/api/v1/namespaces/" + w.HostNamespace + "/services/" + w.B.Name + ":443/proxy/version",
		"/api/v1/namespaces/" + w.HostNamespace + "/services/https:" + w.B.Name + ":443/proxy/version",
	} {
		status, body := rawGet(t, w.A, path)
		require.True(t, status >= 400 && status != http.StatusInternalServerError, "GET %s: %d %.200s", path, status, body)
	}
	status, body := rawGet(t, w.A, "/api/v1/nodes/"+node+"/proxy/containerLogs/"+space+"/own/main")
	require.Equal(t, http.StatusOK, status, "the way itself is open: %.200s", body)
}

// rawGet asks for a path, which is not cleaned on its way.
func rawGet(t *testing.T, tenant *Tenant, path string) (status int, body string) {
	t.Helper()
	client, err := rest.HTTPClientFor(tenant.Config)
	require.NoError(t, err)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	server, err := url.Parse(tenant.Config.Host)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, tenant.Config.Host, nil)
	require.NoError(t, err)
	request.URL = &url.URL{Scheme: server.Scheme, Host: server.Host, Opaque: "//" + server.Host + path}
	answer, err := client.Do(request)
	require.NoError(t, err, path)
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	require.NoError(t, err, path)
	return answer.StatusCode, string(content)
}

// forgedNodes makes a node whose address is the host's API, and puts pods on it.
func forgedNodes(t *testing.T, w *World) {
	space := namespace(t, w.A, "forged")
	service, err := w.Host.CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	nodes := w.A.Client.CoreV1().Nodes()
	node := decode[corev1.Node](t, w, `
metadata: {generateName: evil-, annotations: {stories.example.com/forged: "yes"}}
spec: {taints: [{key: stories.example.com/forged, effect: NoSchedule}]} # DaemonSets of other stories have no business there
status:
  addresses: [{type: InternalIP, address: `+service.Spec.ClusterIP+`}, {type: Hostname, address: kubernetes.default}]
  daemonEndpoints: {kubeletEndpoint: {Port: 443}}
`)
	made, err := nodes.Create(t.Context(), node, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = nodes.Delete(context.Background(), made.Name, metav1.DeleteOptions{}) })
	made.Status = node.Status
	_, err = nodes.UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = w.Host.CoreV1().Nodes().Get(t.Context(), made.Name, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "a node of the tenant's is none of the host's")
	for _, name := range []string{made.Name, made.Name + ":443", "https:" + made.Name + ":443", "http:" + made.Name + ":80"} {
		for _, path := range []string{"/", "/version", "/api", "/pods"} {
			status, body := rawGet(t, w.A, "/api/v1/nodes/"+name+"/proxy"+path)
			require.True(t, status >= 400, "%s%s: %d %.200s", name, path, status, body)
			require.NotContains(t, body, "gitVersion")
		}
	}
	// A pod that is there by its author's word, and one that is bound to it.
	createPod(t, w, w.A, space, `
metadata: {name: there}
spec: {nodeName: `+made.Name+`, tolerations: [{operator: Exists}], containers: [{name: main, image: IMAGE}]}
`)
	createPod(t, w, w.A, space, `
metadata: {name: bound}
spec: {schedulingGates: [{name: example.org/wait}], containers: [{name: main, image: IMAGE}]}
`)
	err = w.A.Client.CoreV1().Pods(space).Bind(t.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: "bound"}, Target: corev1.ObjectReference{Kind: "Node", Name: made.Name}}, metav1.CreateOptions{})
	require.Error(t, err, "a gated pod cannot be bound")
	for _, name := range []string{"there", "bound"} {
		told, err := w.A.Client.CoreV1().Pods(space).GetLogs(name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		require.True(t, err != nil || len(told) == 0, "%s", told) // without a node there are no logs
		_, err = tryExec(t.Context(), w.A, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: name}}, "main", "id")
		require.Error(t, err)
	}
	if !w.Real {
		return // nobody has that address
	}
	// An address that the pod does not have.
	pods := w.A.Client.CoreV1().Pods(space)
	_, err = pods.Patch(t.Context(), "bound", types.MergePatchType, []byte(`{"status":{"podIP":"`+service.Spec.ClusterIP+`","podIPs":[{"ip":"`+service.Spec.ClusterIP+`"}]}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	for _, name := range []string{"bound", "https:bound:443", "bound:80"} {
		status, body := rawGet(t, w.A, "/api/v1/namespaces/"+space+"/pods/"+name+"/proxy/version")
		require.True(t, status >= 400, "%s: %d %.200s", name, status, body)
	}
}

// stolenClaims asks for the volume of another tenant by every name that it has.
func stolenClaims(t *testing.T, w *World) {
	victims := namespace(t, w.B, "owner")
	createClaim(t, w, w.B, victims, `
metadata: {name: data}
spec: {storageClassName: immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	claim := waitClaim(t, w.B, victims, "data", corev1.ClaimBound)
	volume, err := w.Host.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(t, err)
	hostClaim := volume.Spec.ClaimRef.Name
	defer forgetVolume(t, w, volume.Name)

	space := namespace(t, w.A, "thief")
	for name, more := range map[string]string{
		"volume": "volumeName: " + volume.Name,
		"copy":   "dataSource: {kind: PersistentVolumeClaim, name: " + hostClaim + "}",
		"ref":    "dataSourceRef: {kind: PersistentVolumeClaim, name: data, namespace: " + victims + "}",
	} {
		_, err := w.A.Client.CoreV1().PersistentVolumeClaims(space).Create(t.Context(), decode[corev1.PersistentVolumeClaim](t, w, `
metadata: {name: `+name+`, annotations: {pv.kubernetes.io/bind-completed: "yes", volume.kubernetes.io/storage-provisioner: stolen.example}}
spec: {storageClassName: immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}, `+more+`}
`), metav1.CreateOptions{})
		require.NoError(t, err)
	}
	// A volume of the tenant's own, which says that it is the other's.
	own, err := w.A.Client.CoreV1().PersistentVolumes().Create(t.Context(), decode[corev1.PersistentVolume](t, w, `
metadata: {generateName: stolen-}
spec:
  capacity: {storage: 16Mi}
  accessModes: [ReadWriteOnce]
  csi: {driver: `+volume.Spec.CSI.Driver+`, volumeHandle: `+volume.Spec.CSI.VolumeHandle+`}
  claimRef: {namespace: `+space+`, name: own}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.A.Client.CoreV1().PersistentVolumes().Delete(context.Background(), own.Name, metav1.DeleteOptions{})
	})
	_, err = w.Host.CoreV1().PersistentVolumes().Get(t.Context(), own.Name, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "a volume of the tenant's is none of the host's")
	eventually(t, "the claim of a volume by its name on the host", func(ctx context.Context) (bool, string) {
		_, err := w.Host.CoreV1().PersistentVolumeClaims(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, "volume"), metav1.GetOptions{})
		return err == nil, errText(err)
	})
	for _, name := range []string{"volume", "copy", "ref"} {
		host, err := w.Host.CoreV1().PersistentVolumeClaims(w.HostNamespace).Get(t.Context(), naming.Host(w.A.Name, space, name), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue // refused, with an event
		}
		require.NoError(t, err)
		for _, source := range []string{asJSON(host.Spec.DataSource), asJSON(host.Spec.DataSourceRef)} {
			require.NotContains(t, source, `"`+hostClaim+`"`)
			require.NotContains(t, source, `"namespace"`)
		}
		require.NotEqual(t, "stolen.example", host.Annotations["volume.kubernetes.io/storage-provisioner"])
		if name == "volume" {
			require.NotEqual(t, corev1.ClaimBound, host.Status.Phase)
		} else {
			require.NotEqual(t, volume.Name, host.Spec.VolumeName)
		}
	}
	still, err := w.Host.CoreV1().PersistentVolumes().Get(t.Context(), volume.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, volume.Spec.ClaimRef.UID, still.Spec.ClaimRef.UID, "it is its owner's")
}

// editedMirrors changes and deletes mirrors of what belongs to the host.
func editedMirrors(t *testing.T, w *World) {
	classes := w.A.Client.StorageV1().StorageClasses()
	before, err := w.Host.StorageV1().StorageClasses().Get(t.Context(), standardClass, metav1.GetOptions{})
	require.NoError(t, err)
	class, err := classes.Get(t.Context(), standardClass, metav1.GetOptions{})
	require.NoError(t, err)
	_, err = classes.Patch(t.Context(), standardClass, types.MergePatchType, []byte(`{"allowVolumeExpansion":false,"mountOptions":["exec"]}`), metav1.PatchOptions{})
	if err == nil { // some fields cannot be changed at all
		eventually(t, "the class as it was", func(ctx context.Context) (bool, string) {
			now, err := classes.Get(ctx, standardClass, metav1.GetOptions{})
			return err == nil && asJSON(now.AllowVolumeExpansion) == asJSON(class.AllowVolumeExpansion) && asJSON(now.MountOptions) == asJSON(class.MountOptions), asJSON(now)
		})
	}
	require.NoError(t, classes.Delete(t.Context(), standardClass, metav1.DeleteOptions{}))
	eventually(t, "the class again", func(ctx context.Context) (bool, string) {
		_, err := classes.Get(ctx, standardClass, metav1.GetOptions{})
		return err == nil, errText(err)
	})
	after, err := w.Host.StorageV1().StorageClasses().Get(t.Context(), standardClass, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, before.UID, after.UID)
	require.Equal(t, specOf(before), specOf(after), "the host's is its own")

	name := nodeNames(t, w)[0]
	node := hostNode(t, w, name)
	_, err = w.A.Client.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"attack":"mine"}},"spec":{"providerID":"attack://1"}}`), metav1.PatchOptions{})
	if err != nil {
		_, err = w.A.Client.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"labels":{"attack":"mine"}}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	// With another machine behind it, the mirror is made anew: for a moment there is none.
	eventually(t, "a node to lie about", func(ctx context.Context) (bool, string) {
		_, err := w.A.Client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(`{"status":{"capacity":{"cpu":"1000"}}}`), metav1.PatchOptions{}, "status")
		return err == nil, errText(err)
	})
	eventually(t, "the node as it was", func(ctx context.Context) (bool, string) {
		now, err := w.A.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err == nil && now.Labels["attack"] == "" && now.Status.Capacity.Cpu().Cmp(*node.Status.Capacity.Cpu()) == 0, asJSON(now.Labels)
	})
	require.NotContains(t, hostNode(t, w, name).Labels, "attack")
}

func specOf(class *storagev1.StorageClass) string {
	class = class.DeepCopy()
	class.ObjectMeta = metav1.ObjectMeta{}
	return asJSON(class)
}

// wayOut has the API server call the host's API, the metadata of a cloud and itself.
func wayOut(t *testing.T, w *World) {
	space := namespace(t, w.A, "out")
	targets := map[string]string{"loopback": "https://localhost:8443/", "metadata": "https://169.254.169.254/latest/meta-data/"}
	if w.Real { // the address by which the process reaches it
		service, err := w.Host.CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
		require.NoError(t, err)
		targets["host"] = "https://" + service.Spec.ClusterIP + "/"
	}
	hooks := w.A.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	for name, target := range targets {
		_, err := hooks.Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: space + "-" + name},
			Webhooks: []admissionv1.ValidatingWebhook{{
				Name: name + ".out.example", ClientConfig: admissionv1.WebhookClientConfig{URL: &target},
				AdmissionReviewVersions: []string{"v1"}, SideEffects: new(admissionv1.SideEffectClassNone), TimeoutSeconds: new(int32(5)),
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: space}},
				ObjectSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"asks": name}},
				Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}}}},
			}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = hooks.Delete(context.Background(), space+"-"+name, metav1.DeleteOptions{}) })
		eventually(t, "a word about "+target, func(ctx context.Context) (bool, string) {
			_, err := w.A.Client.CoreV1().ConfigMaps(space).Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "asks-", Labels: map[string]string{"asks": name}}}, metav1.CreateOptions{})
			return err != nil && strings.Contains(err.Error(), "is no address that this API server connects to for its users"), errText(err)
		})
	}
}

// foundations deletes what names the cluster, and what leads to its API.
func foundations(t *testing.T, w *World) {
	namespaces := w.A.Client.CoreV1().Namespaces()
	before, err := namespaces.Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	require.NoError(t, err)
	for _, name := range []string{metav1.NamespaceSystem, metav1.NamespaceDefault} {
		err := namespaces.Delete(t.Context(), name, metav1.DeleteOptions{})
		require.True(t, apierrors.IsForbidden(err), "%s: %v", name, err)
	}
	after, err := namespaces.Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, before.UID, after.UID, "the identity of the cluster")

	services := w.A.Client.CoreV1().Services(metav1.NamespaceDefault)
	service, err := services.Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	host, err := w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), w.A.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, services.Delete(t.Context(), "kubernetes", metav1.DeleteOptions{}))
	still, err := w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), w.A.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, []any{host.UID, host.Spec.ClusterIP, host.Spec.Selector}, []any{still.UID, still.Spec.ClusterIP, still.Spec.Selector})
	eventually(t, "default/kubernetes again", func(ctx context.Context) (bool, string) {
		again, err := services.Get(ctx, "kubernetes", metav1.GetOptions{})
		return err == nil && again.Spec.ClusterIP == service.Spec.ClusterIP, errText(err)
	})
}

// injectedContainer has the host add a container to the tenant's pods.
func injectedContainer(t *testing.T, w *World) {
	space := namespace(t, w.A, "injected")
	name := "inject-" + space
	policies := w.Host.AdmissionregistrationV1()
	_, err := policies.MutatingAdmissionPolicies().Create(t.Context(), decode[admissionv1.MutatingAdmissionPolicy](t, w, `
metadata: {name: `+name+`}
spec:
  failurePolicy: Ignore
  reinvocationPolicy: Never
  matchConstraints:
    objectSelector: {matchLabels: {inject: `+space+`}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{name: "sidecar", image: object.spec.containers[0].image, command: ["sleep", "100000"]}}]'
`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = policies.MutatingAdmissionPolicyBindings().Create(t.Context(), decode[admissionv1.MutatingAdmissionPolicyBinding](t, w, `
metadata: {name: `+name+`}
spec: {policyName: `+name+`}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = policies.MutatingAdmissionPolicyBindings().Delete(context.Background(), name, metav1.DeleteOptions{})
		_ = policies.MutatingAdmissionPolicies().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	var pod *corev1.Pod
	eventually(t, "a pod with the host's container", func(ctx context.Context) (bool, string) {
		made := runPod(t, w, w.A, space, `
metadata: {generateName: web-, labels: {inject: `+space+`}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE}]}
`)
		host := hostPodOf(t, w, w.A, made) // the policy may be on its way
		pod = made
		return len(host.Spec.Containers) == 2, asJSON(host.Spec.Containers)
	})
	require.Len(t, pod.Spec.Containers, 1)
	require.Len(t, pod.Status.ContainerStatuses, 1, "it is not told of it")
	_, err = tryExec(t.Context(), w.A, pod, "sidecar", "id")
	require.Error(t, err)
	_, err = w.A.Client.CoreV1().Pods(space).GetLogs(pod.Name, &corev1.PodLogOptions{Container: "sidecar"}).DoRaw(t.Context())
	require.Error(t, err)
	for _, path := range []string{"/containerLogs/" + space + "/" + pod.Name + "/sidecar", "/exec/" + space + "/" + pod.Name + "/sidecar?command=id&output=1", "/attach/" + space + "/" + pod.Name + "/sidecar?output=1"} {
		status, body := rawGet(t, w.A, "/api/v1/nodes/"+pod.Spec.NodeName+"/proxy"+path)
		require.True(t, status >= 400, "%s: %d %.200s", path, status, body)
	}
	// Nor by a debugger beside it.
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "lens", Image: w.Image, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"sleep", "100000"}, TerminationMessagePolicy: corev1.TerminationMessageReadFile}, TargetContainerName: "sidecar"}}
	current, err := w.A.Client.CoreV1().Pods(space).Get(t.Context(), pod.Name, metav1.GetOptions{})
	require.NoError(t, err)
	current.Spec.EphemeralContainers = pod.Spec.EphemeralContainers
	_, err = w.A.Client.CoreV1().Pods(space).UpdateEphemeralContainers(t.Context(), pod.Name, current, metav1.UpdateOptions{})
	require.Error(t, err, "there is no such container in the tenant's pod")
}

// longest has the longest names, labels and annotations that the API takes.
func longest(t *testing.T, w *World) {
	space := namespace(t, w.A, "longest")
	name := strings.Repeat("long.", 50) + "end" // 253
	text := strings.Repeat("ü€𝄞 ", 200<<10/len("ü€𝄞 "))
	annotations := map[string]string{"example.org/unicode": text}
	_, err := w.A.Client.CoreV1().ConfigMaps(space).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}, Data: map[string]string{"KEY": "value"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	made := runPod(t, w, w.A, space, `
metadata: {name: `+name+`, labels: {long: `+strings.Repeat("l", 63)+`}}
spec:
  containers: [{name: main, image: IMAGE, envFrom: [{configMapRef: {name: `+name+`}}]}]
`)
	host := hostPodOf(t, w, w.A, made)
	require.LessOrEqual(t, len(host.Name), 63)
	require.Equal(t, strings.Repeat("l", 63), host.Labels["long"])
	settings, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), host.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, text, settings.Annotations["example.org/unicode"])
	_, err = w.A.Client.CoreV1().ConfigMaps(space).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "too-much", Annotations: map[string]string{"a": strings.Repeat("x", 257<<10)}}}, metav1.CreateOptions{})
	require.True(t, apierrors.IsInvalid(err), "%v", err)
}

// podSecurity turns the host's on for its namespace, while nobody else is there.
func podSecurity(t *testing.T, w *World) {
	space := namespace(t, w.A, "security")
	enforce := func(level string) {
		t.Helper()
		_, err := w.Host.CoreV1().Namespaces().Patch(context.Background(), w.HostNamespace, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":`+level+`}}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	enforce(`"baseline"`)
	t.Cleanup(func() { enforce("null") })
	for name, more := range map[string]string{
		"host-path":   "volumes: [{name: root, hostPath: {path: /}}], containers: [{name: main, image: IMAGE, volumeMounts: [{name: root, mountPath: /host}]}]",
		"privileged":  "containers: [{name: main, image: IMAGE, securityContext: {privileged: true}}]",
		"network":     "hostNetwork: true, containers: [{name: main, image: IMAGE}]",
		"pid":         "hostPID: true, containers: [{name: main, image: IMAGE}]",
		"ipc":         "hostIPC: true, containers: [{name: main, image: IMAGE}]",
		"capability":  "containers: [{name: main, image: IMAGE, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]",
		"ports":       "containers: [{name: main, image: IMAGE, ports: [{containerPort: 22, hostPort: 22}]}]",
		"unconfined":  "securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: main, image: IMAGE}]",
		"kernel-knob": "securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}, containers: [{name: main, image: IMAGE}]",
	} {
		pod := decode[corev1.Pod](t, w, "{metadata: {name: "+name+"}, spec: {"+more+"}}")
		err := refusal(t, w, w.A, space, name, `violates PodSecurity "baseline`, func(ctx context.Context) error {
			_, err := w.A.Client.CoreV1().Pods(space).Create(ctx, pod, metav1.CreateOptions{})
			return err
		})
		require.True(t, apierrors.IsForbidden(err), "%v", err)
		require.NotContains(t, err.Error(), naming.Host(w.A.Name, space, name))
		_, err = w.Host.CoreV1().Pods(w.HostNamespace).Get(t.Context(), naming.Host(w.A.Name, space, name), metav1.GetOptions{})
		require.True(t, apierrors.IsNotFound(err), "%s: %v", name, err)
	}
	runPod(t, w, w.A, space, `
metadata: {name: modest}
spec: {containers: [{name: main, image: IMAGE}]}
`)
}

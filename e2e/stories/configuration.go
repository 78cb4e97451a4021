package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func configuration() []Story {
	return slices.Concat([]Story{
		{Name: "a pod sees its ConfigMaps and Secrets as variables and files", Real: true, Run: configured},
		{Name: "files of ConfigMaps and Secrets follow their changes", Real: true, Run: updatedFiles},
		{Name: "a pod waits for what it refers to, and says for what", Real: true, Run: missingConfiguration},
		{Name: "only what a pod refers to goes to the host, and only as long as it does", Run: referencedOnly},
		{Name: "credentials for images go to the host with the pod", Run: imagePullSecrets},
	}, downward())
}

// createConfiguration makes ConfigMaps and Secrets of a story.
func createConfiguration(t *testing.T, w *World, tenant *Tenant, namespace string, manifests ...string) {
	t.Helper()
	for _, manifest := range manifests {
		var err error
		kind, rest, _ := strings.Cut(strings.TrimSpace(manifest), "\n")
		switch kind {
		case "ConfigMap":
			_, err = tenant.Client.CoreV1().ConfigMaps(namespace).Create(t.Context(), decode[corev1.ConfigMap](t, w, rest), metav1.CreateOptions{})
		case "Secret":
			_, err = tenant.Client.CoreV1().Secrets(namespace).Create(t.Context(), decode[corev1.Secret](t, w, rest), metav1.CreateOptions{})
		default:
			err = fmt.Errorf("no kind %q", kind)
		}
		require.NoError(t, err)
	}
}

func configured(t *testing.T, w *World) {
	space := namespace(t, w.A, "configured")
	createConfiguration(t, w, w.A, space, `ConfigMap
metadata: {name: settings}
immutable: true
data: {COLOR: blue, SIZE: "12", "file.conf": "a = 1\n"}
binaryData: {blob: AAEC/w==}
`, `Secret
metadata: {name: login}
immutable: true
stringData: {USER: admin, PASSWORD: "pa$$word $(USER)"}
`)
	pod := runPod(t, w, w.A, space, `
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: main
    image: IMAGE
    envFrom:
    - {configMapRef: {name: settings}}
    - {prefix: LOGIN_, secretRef: {name: login}}
    - {configMapRef: {name: nobody, optional: true}}
    env:
    - {name: ONE, valueFrom: {configMapKeyRef: {name: settings, key: COLOR}}}
    - {name: TWO, valueFrom: {secretKeyRef: {name: login, key: PASSWORD}}}
    - {name: THREE, valueFrom: {configMapKeyRef: {name: settings, key: nothing, optional: true}}}
    - {name: FOUR, valueFrom: {secretKeyRef: {name: nobody, key: nothing, optional: true}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: SIZE, value: "over envFrom"}
    - {name: SENTENCE, value: "$(COLOR) for $(LOGIN_USER)"}
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: some, mountPath: /some}
    - {name: settings, mountPath: /etc/file.conf, subPath: file.conf}
    - {name: login, mountPath: /login}
    - {name: nobody, mountPath: /nobody}
    - {name: all, mountPath: /all}
    - {name: scratch, mountPath: /mine, subPathExpr: "of-$(NAME)"}
    - {name: scratch, mountPath: /scratch}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - {name: some, configMap: {name: settings, defaultMode: 0400, items: [{key: COLOR, path: deep/color}, {key: SIZE, path: size, mode: 0640}]}}
  - {name: login, secret: {secretName: login, defaultMode: 0440}}
  - {name: nobody, secret: {secretName: nobody, optional: true}}
  - name: all
    projected:
      sources:
      - {configMap: {name: settings, items: [{key: COLOR, path: color}]}}
      - {secret: {name: login, items: [{key: USER, path: login/user, mode: 0400}]}}
      - {configMap: {name: nobody, optional: true}}
      - {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
      - {serviceAccountToken: {path: token, audience: vault, expirationSeconds: 1200}}
`)
	for script, want := range map[string]string{
		`echo "$COLOR/$SIZE/$LOGIN_USER/$LOGIN_PASSWORD"`:                      `blue/over envFrom/admin/pa$$word $(USER)`,
		`echo "$ONE/$TWO/${THREE-unset}/${FOUR-unset}/$SENTENCE"`:              `blue/pa$$word $(USER)/unset/unset/blue for admin`,
		"cat /settings/file.conf /etc/file.conf":                               "a = 1\na = 1",
		"ls /settings /some /nobody":                                           "/nobody:\n\n/settings:\nCOLOR\nSIZE\nblob\nfile.conf\n\n/some:\ndeep\nsize",
		"ls /scratch":                                                          "of-web",
		"od -An -tx1 /settings/blob":                                           " 00 01 02 ff",
		"cd /some/..data/; stat -c '%a %n' deep/color size":                    "400 deep/color\n640 size",
		"cd /login/..data/; stat -c '%a %n' *; cat USER":                       "440 PASSWORD\n440 USER\nadmin",
		"cd /all; cat color; echo; cat login/user; echo; cat name":             "blue\nadmin\nweb",
		"stat -L -c %a /all/login/user /all/color; find /all/ -type l | wc -l": "400\n644\n5",
	} {
		require.Equal(t, want, shell(t, w.A, pod, "", script), script)
	}
	require.NotEmpty(t, shell(t, w.A, pod, "", "cat /all/token"))
	host := hostPodOf(t, w, w.A, pod)
	requireTenantsWords(t, w, host, shell(t, w.A, pod, "", "env; ls -lR /settings /some /login /all"))

	// Immutable there as well: kubelets stop to watch such ones.
	for _, volume := range host.Spec.Volumes {
		if volume.Name == "settings" {
			found, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), volume.ConfigMap.Name, metav1.GetOptions{})
			require.NoError(t, err)
			require.True(t, *found.Immutable)
			require.Equal(t, []byte{0, 1, 2, 255}, found.BinaryData["blob"])
		}
	}
}

func updatedFiles(t *testing.T, w *World) {
	space := namespace(t, w.A, "updated")
	createConfiguration(t, w, w.A, space,
		"ConfigMap\n{metadata: {name: settings}, data: {color: blue, gone: soon}}",
		"Secret\n{metadata: {name: login}, stringData: {user: admin}}")
	pod := runPod(t, w, w.A, space, `
metadata: {name: web}
spec:
  containers:
  - name: main
    image: IMAGE
    env: [{name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}]
    volumeMounts: [{name: all, mountPath: /all}, {name: settings, mountPath: /settings}]
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: all, projected: {sources: [{configMap: {name: settings}}, {secret: {name: login}}, {secret: {name: later, optional: true}}]}}
`)
	eventuallyShell(t, w.A, pod, "cd /all; grep . *", "color:blue\ngone:soon\nuser:admin")

	_, err := w.A.Client.CoreV1().ConfigMaps(space).Update(t.Context(), decode[corev1.ConfigMap](t, w, `{metadata: {name: settings}, data: {color: red, new: here}}`), metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = w.A.Client.CoreV1().Secrets(space).Update(t.Context(), decode[corev1.Secret](t, w, `{metadata: {name: login}, stringData: {user: root}}`), metav1.UpdateOptions{})
	require.NoError(t, err)
	createConfiguration(t, w, w.A, space, "Secret\n{metadata: {name: later}, stringData: {late: arrival}}")
	eventuallyShell(t, w.A, pod, "cd /all; grep . *; grep . /settings/*", "color:red\nlate:arrival\nnew:here\nuser:root\n/settings/color:red\n/settings/new:here")
	require.Equal(t, "blue", shell(t, w.A, pod, "", "echo $COLOR"), "a variable stays what it was")
	require.NoError(t, w.A.Client.CoreV1().Secrets(space).Delete(t.Context(), "later", metav1.DeleteOptions{}))
	eventuallyShell(t, w.A, pod, "ls /all", "color\nnew\nuser")
}

func missingConfiguration(t *testing.T, w *World) {
	space := namespace(t, w.A, "missing")
	mounts := createPod(t, w, w.A, space, `
metadata: {name: mounts}
spec:
  containers: [{name: main, image: IMAGE, volumeMounts: [{name: settings, mountPath: /settings}]}]
  volumes: [{name: settings, configMap: {name: settings}}]
`)
	reads := createPod(t, w, w.A, space, `
metadata: {name: reads}
spec: {containers: [{name: main, image: IMAGE, env: [{name: USER, valueFrom: {secretKeyRef: {name: login, key: user}}}]}]}
`)
	event := waitEvent(t, w.A, space, "mounts", "FailedMount", `configmap "settings" not found`)
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, mounts), asJSON(event))
	reads = waitPod(t, w.A, space, "reads", "says what is missing", func(pod *corev1.Pod) bool {
		waiting := containerStatus(pod, "main").State.Waiting
		// Kubelet may say at first that it has waited in vain to hear about the Secret.
		return waiting != nil && waiting.Reason == "CreateContainerConfigError" && waiting.Message == `secret "login" not found`
	})
	event = waitEvent(t, w.A, space, "reads", "Failed", `secret "login" not found`)
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, reads), asJSON(event)+asJSON(reads.Status))

	createConfiguration(t, w, w.A, space,
		"ConfigMap\n{metadata: {name: settings}, data: {color: blue}}",
		"Secret\n{metadata: {name: login}, stringData: {other: key}}")
	mounts = waitPod(t, w.A, space, "mounts", "is ready", isReady)
	require.Equal(t, "blue", shell(t, w.A, mounts, "", "cat /settings/color"))

	waitEvent(t, w.A, space, "reads", "Failed", "couldn't find key user in Secret "+space+"/login")
	_, err := w.A.Client.CoreV1().Secrets(space).Update(t.Context(), decode[corev1.Secret](t, w, `{metadata: {name: login}, stringData: {user: admin}}`), metav1.UpdateOptions{})
	require.NoError(t, err)
	reads = waitPod(t, w.A, space, "reads", "is ready", isReady)
	require.Equal(t, "admin", shell(t, w.A, reads, "", "echo $USER"))
}

func referencedOnly(t *testing.T, w *World) {
	space := namespace(t, w.A, "referenced")
	createConfiguration(t, w, w.A, space,
		"ConfigMap\n{metadata: {name: used}, data: {a: b}}",
		"ConfigMap\n{metadata: {name: unused}, data: {a: b}}",
		"ConfigMap\n{metadata: {name: wanted, annotations: {nestling.dev/sync: \"true\"}}, data: {a: b}}",
		"Secret\n{metadata: {name: used}, stringData: {a: b}}",
		"Secret\n{metadata: {name: unused}, stringData: {a: b}}",
		"Secret\n{metadata: {name: typed}, type: kubernetes.io/basic-auth, stringData: {username: u, password: p}}")
	runPod(t, w, w.A, space, `
metadata: {name: web}
spec:
  automountServiceAccountToken: false
  containers:
  - name: main
    image: IMAGE
    envFrom: [{configMapRef: {name: used}}]
    env: [{name: A, valueFrom: {secretKeyRef: {name: used, key: a}}}]
  volumes: [{name: typed, secret: {secretName: typed}}]
`)
	waitHostConfiguration(t, w, space, "configmap used", "configmap wanted", "secret typed kubernetes.io/basic-auth", "secret used Opaque")

	// One that somebody deletes, or changes, on the host comes back.
	selector := metav1.ListOptions{LabelSelector: "nestling.dev/tenant=" + w.A.Name + ",nestling.dev/namespace=" + space}
	found, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).List(t.Context(), selector)
	require.NoError(t, err)
	require.NoError(t, w.Host.CoreV1().ConfigMaps(w.HostNamespace).Delete(t.Context(), found.Items[0].Name, metav1.DeleteOptions{}))
	changed := found.Items[1].DeepCopy()
	changed.Data = map[string]string{"a": "changed"}
	_, err = w.Host.CoreV1().ConfigMaps(w.HostNamespace).Update(t.Context(), changed, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, "both repaired", func(ctx context.Context) (bool, string) {
		found, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).List(ctx, selector)
		if err != nil {
			return false, err.Error()
		}
		good := 0
		for _, item := range found.Items {
			if item.Data["a"] == "b" {
				good++
			}
		}
		return good == 2, fmt.Sprint(good, " are good")
	})

	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	waitHostConfiguration(t, w, space, "configmap wanted")
	require.NoError(t, w.A.Client.CoreV1().ConfigMaps(space).Delete(t.Context(), "wanted", metav1.DeleteOptions{}))
	waitHostConfiguration(t, w, space)
}

func imagePullSecrets(t *testing.T, w *World) {
	space := namespace(t, w.A, "pull")
	createConfiguration(t, w, w.A, space, `Secret
metadata: {name: registry}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: '{"auths":{"registry.example":{"auth":"dTpw"}}}'}
`)
	// The tenant's ServiceAccount brings it along.
	_, err := w.A.Client.CoreV1().ServiceAccounts(space).Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "puller"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "registry"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod := runPod(t, w, w.A, space, `
metadata: {name: web}
spec: {serviceAccountName: puller, automountServiceAccountToken: false, containers: [{name: main, image: IMAGE}]}
`)
	waitHostConfiguration(t, w, space, "secret registry kubernetes.io/dockerconfigjson")
	host := hostPodOf(t, w, w.A, pod)
	require.Len(t, host.Spec.ImagePullSecrets, 1)
	found, err := w.Host.CoreV1().Secrets(w.HostNamespace).Get(t.Context(), host.Spec.ImagePullSecrets[0].Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Contains(t, string(found.Data[corev1.DockerConfigJsonKey]), "registry.example")
}

// waitHostConfiguration waits until these ConfigMaps and Secrets of a namespace of
// tenant A are on the host, in the tenant's names, and no others.
func waitHostConfiguration(t *testing.T, w *World, namespace string, want ...string) {
	t.Helper()
	eventually(t, "on the host: "+strings.Join(want, ", "), func(ctx context.Context) (bool, string) {
		var saw []string
		selector := metav1.ListOptions{LabelSelector: "nestling.dev/tenant=" + w.A.Name + ",nestling.dev/namespace=" + namespace}
		maps, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).List(ctx, selector)
		if err != nil {
			return false, err.Error()
		}
		for _, item := range maps.Items {
			saw = append(saw, "configmap "+item.Annotations["nestling.dev/name"])
		}
		secrets, err := w.Host.CoreV1().Secrets(w.HostNamespace).List(ctx, selector)
		if err != nil {
			return false, err.Error()
		}
		for _, item := range secrets.Items {
			saw = append(saw, "secret "+item.Annotations["nestling.dev/name"]+" "+string(item.Type))
		}
		slices.Sort(saw)
		return slices.Equal(saw, want), strings.Join(saw, ", ")
	})
}

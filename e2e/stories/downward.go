package stories

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// downward is what a pod reads about itself in files.
func downward() []Story {
	return []Story{
		{Name: "downward API files show the tenant's pod, and follow its changes", Real: true, Run: downwardFiles},
		{Name: "a pod may carry 200 KiB of annotations", Run: manyAnnotations},
	}
}

func downwardFiles(t *testing.T, w *World) {
	space := namespace(t, w.A, "downward")
	pod := runPod(t, w, w.A, space, `
metadata:
  name: web
  labels: {app: web, tier: "front-end"}
  annotations: {note: "two\nlines and \"quotes\" – ü", build: "42"}
spec:
  containers:
  - name: main
    image: IMAGE
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 32Mi}}
    volumeMounts: [{name: info, mountPath: /info}]
  volumes:
  - name: info
    downwardAPI:
      defaultMode: 0444
      items:
      - {path: name, fieldRef: {fieldPath: metadata.name}}
      - {path: namespace, fieldRef: {fieldPath: metadata.namespace}}
      - {path: uid, fieldRef: {fieldPath: metadata.uid}}
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: annotations, fieldRef: {fieldPath: metadata.annotations}}
      - {path: app, fieldRef: {fieldPath: "metadata.labels['app']"}}
      - {path: build, mode: 0400, fieldRef: {fieldPath: "metadata.annotations['build']"}}
      - {path: memory, resourceFieldRef: {containerName: main, resource: limits.memory, divisor: 1Mi}}
`)
	for script, want := range map[string]string{
		"cd /info; grep -H . name namespace uid app build memory": "name:web\nnamespace:" + space + "\nuid:" + string(pod.UID) + "\napp:web\nbuild:42\nmemory:32",
		"cat /info/labels":                       "app=\"web\"\ntier=\"front-end\"",
		"cat /info/annotations":                  `build="42"` + "\n" + `note="two\nlines and \"quotes\" – ü"`,
		"stat -L -c %a /info/build /info/labels": "400\n444",
	} {
		require.Equal(t, want, shell(t, w.A, pod, "", script), script)
	}
	patchPod(t, w.A, pod, `{"metadata":{"labels":{"app":"shop","new":"yes","tier":null},"annotations":{"build":"43","note":null}}}`)
	eventuallyShell(t, w.A, pod, "cd /info; cat labels; echo; cat annotations; echo; cat app; echo; cat build", "app=\"shop\"\nnew=\"yes\"\nbuild=\"43\"\nshop\n43")
}

func manyAnnotations(t *testing.T, w *World) {
	space := namespace(t, w.A, "large")
	text := make([]rune, 200<<10/3)
	for i := range text {
		text[i] = '語'
	}
	pod := decode[corev1.Pod](t, w, `
metadata: {name: large, annotations: {}}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	pod.Annotations = map[string]string{"large": string(text)}
	made := createPodObject(t, w.A, space, pod)
	made = waitPod(t, w.A, space, made.Name, "is ready", isReady)
	require.Equal(t, string(text), made.Annotations["large"])
}

package stories

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// containers is what happens inside of a pod, and what its status says about it.
func containers() []Story {
	return []Story{
		{Name: "inside a container every name is the tenant's", Real: true, Run: namesInside},
		{Name: "a pod's host name is what its author says", Real: true, Run: hostnames},
		{Name: "init containers and sidecars run in their order", Real: true, Run: initContainers},
		{Name: "hooks and probes decide when a pod is ready", Real: true, Run: probes},
		{Name: "a container that ends is started again, and the status says why it ended", Real: true, Run: restarts},
		{Name: "a pod with a readiness gate is ready when its author says so", Run: readinessGate},
		{Name: "a pod that runs too long is ended", Real: true, Run: deadline},
	}
}

func namesInside(t *testing.T, w *World) {
	space := namespace(t, w.A, "inside")
	pod := runPod(t, w, w.A, space, `
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: main
    image: IMAGE
    env:
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
    - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
    - {name: CPUS, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
    - {name: GREETING, value: "I am $(NAME) in $(NAMESPACE), $(NOBODY), $$(NAME)"}
    resources: {requests: {cpu: 7m}}
`)
	env := map[string]string{}
	for _, line := range strings.Split(shell(t, w.A, pod, "", "env"), "\n") {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	for name, want := range map[string]string{
		"NAME": "web", "NAMESPACE": space, "UID": string(pod.UID), "APP": "web", "ACCOUNT": "default",
		"NODE": pod.Spec.NodeName, "POD_IP": pod.Status.PodIP, "HOST_IP": pod.Status.HostIP, "CPUS": "7",
		"GREETING": "I am web in " + space + ", $(NOBODY), $(NAME)",
		"HOSTNAME": "web", "KUBERNETES_SERVICE_PORT": "443",
	} {
		require.Equal(t, want, env[name], name)
		delete(env, name)
	}
	service, err := w.A.Client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, service.Spec.ClusterIP, env["KUBERNETES_SERVICE_HOST"])
	for name := range env {
		known := slices.Contains([]string{"PATH", "HOME", "PWD", "SHLVL", "TERM"}, name) || strings.HasPrefix(name, "KUBERNETES_")
		require.True(t, known, "nobody has asked for the variable %s=%s", name, env[name])
	}

	require.Equal(t, "web", shell(t, w.A, pod, "", "hostname"))
	require.Equal(t, "web", shell(t, w.A, pod, "", "cat /etc/hostname"))
	require.Regexp(t, pod.Status.PodIP+`\s+web$`, shell(t, w.A, pod, "", "cat /etc/hosts"))
	require.Equal(t, space, shell(t, w.A, pod, "", "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace"))
	host := hostPodOf(t, w, w.A, pod)
	seen := shell(t, w.A, pod, "", "env; hostname; cat /etc/hosts /etc/hostname /etc/resolv.conf /proc/1/environ")
	requireTenantsWords(t, w, host, seen)
	require.NotContains(t, strings.ReplaceAll(seen, w.Image, ""), "nestling")
	requireTenantsWords(t, w, host, asJSON(pod.Annotations)+asJSON(pod.Labels)+asJSON(pod.Spec))
}

func hostnames(t *testing.T, w *World) {
	space := namespace(t, w.A, "hostnames")
	long := "a-name-that-is-much-longer-than-the-63-bytes-of-a-linux-hostname-and-goes-on"
	for name, test := range map[string]struct{ manifest, want string }{
		"chosen":    {`{name: chosen}, spec: {hostname: other, subdomain: group, `, "other"},
		"qualified": {`{name: qualified}, spec: {hostname: a, subdomain: group, setHostnameAsFQDN: true, `, "a.group." + space + ".svc.cluster.local"},
		"with dots": {`{name: with.dots}, spec: {`, "with.dots"},
		"too long":  {`{name: ` + long + `}, spec: {`, strings.TrimRight(long[:63], "-")},
	} {
		t.Run(name, func(t *testing.T) {
			pod := runPod(t, w, w.A, space, `{metadata: `+test.manifest+` containers: [{name: main, image: IMAGE}]}}`)
			require.Equal(t, test.want, shell(t, w.A, pod, "", "hostname"))
			requireTenantsWords(t, w, hostPodOf(t, w, w.A, pod), shell(t, w.A, pod, "", "env; cat /etc/hosts"))
		})
	}
}

func initContainers(t *testing.T, w *World) {
	space := namespace(t, w.A, "init")
	pod := createPod(t, w, w.A, space, `
metadata: {name: ordered}
spec:
  restartPolicy: Never
  initContainers:
  - {name: first, image: IMAGE, command: [sh, -c, "echo first >> /shared/order"], volumeMounts: [&shared {name: shared, mountPath: /shared}]}
  - name: sidecar
    image: IMAGE
    restartPolicy: Always
    command: [sh, -c, "trap 'echo sidecar ends; exit' TERM; echo sidecar >> /shared/order; sleep 100000 & wait"]
    startupProbe: {exec: {command: [grep, sidecar, /shared/order]}, PROBE, failureThreshold: 60}
    volumeMounts: [*shared]
  - {name: last, image: IMAGE, command: [sh, -c, "echo last >> /shared/order"], volumeMounts: [*shared]}
  containers:
  - {name: main, image: IMAGE, command: [sh, -c, "cat /shared/order; until [ -e /shared/end ]; do sleep 0.2; done"], volumeMounts: [*shared]}
  volumes: [{name: shared, emptyDir: {}}]
`)
	pod = waitPod(t, w.A, space, pod.Name, "runs", isReady)
	eventually(t, "the order", func(context.Context) (bool, string) { // a container that runs may not have said it yet
		said := logs(t, w.A, pod, corev1.PodLogOptions{Container: "main"})
		return said == "first\nsidecar\nlast\n", said
	})
	require.Equal(t, "Completed", containerStatus(pod, "first").State.Terminated.Reason)
	require.True(t, containerStatus(pod, "sidecar").Ready)
	require.NotNil(t, containerStatus(pod, "sidecar").State.Running)

	shell(t, w.A, pod, "sidecar", "touch /shared/end")
	pod = waitPod(t, w.A, space, pod.Name, "ends with its main container", hasEnded)
	require.Equal(t, corev1.PodSucceeded, pod.Status.Phase)
	require.Contains(t, logs(t, w.A, pod, corev1.PodLogOptions{Container: "sidecar"}), "sidecar ends")

	pod = createPod(t, w, w.A, space, `
metadata: {name: stuck}
spec:
  initContainers: [{name: fails, image: IMAGE, command: [sh, -c, "exit 3"]}]
  containers: [{name: main, image: IMAGE}]
`)
	pod = waitPod(t, w.A, space, pod.Name, "hangs in its init container", func(pod *corev1.Pod) bool {
		last := containerStatus(pod, "fails").LastTerminationState.Terminated
		return last != nil && last.ExitCode == 3
	})
	require.Equal(t, corev1.PodPending, pod.Status.Phase)
	require.Equal(t, corev1.ConditionFalse, condition(pod, corev1.PodInitialized))
}

func probes(t *testing.T, w *World) {
	space := namespace(t, w.A, "probes")
	pod := createPod(t, w, w.A, space, `
metadata: {name: slow}
spec:
  containers:
  - name: main
    image: IMAGE
    command: [agnhost, netexec, --http-port=8080]
    lifecycle: {postStart: {exec: {command: [touch, /tmp/started]}}}
    readinessProbe: {exec: {command: [cat, /tmp/ready]}, PROBE}
    startupProbe: {httpGet: {port: 8080, path: /healthz}, PROBE, failureThreshold: 60}
    livenessProbe: {exec: {command: [sh, -c, "! [ -e /tmp/dead ]"]}, PROBE, failureThreshold: 1, terminationGracePeriodSeconds: 1}
`)
	pod = waitPod(t, w.A, space, pod.Name, "has started", func(pod *corev1.Pod) bool {
		started := containerStatus(pod, "main").Started
		return started != nil && *started
	})
	require.Equal(t, corev1.PodRunning, pod.Status.Phase)
	require.Equal(t, corev1.ConditionFalse, condition(pod, corev1.PodReady))
	shell(t, w.A, pod, "", "ls /tmp/started") // by the hook
	waitEvent(t, w.A, space, pod.Name, "Unhealthy", "Readiness probe failed: cat: ")

	shell(t, w.A, pod, "", "touch /tmp/ready")
	waitPod(t, w.A, space, pod.Name, "is ready", isReady)
	shell(t, w.A, pod, "", "rm /tmp/ready")
	waitPod(t, w.A, space, pod.Name, "is not ready any more", func(pod *corev1.Pod) bool { return !isReady(pod) })

	shell(t, w.A, pod, "", "touch /tmp/dead")
	pod = waitPod(t, w.A, space, pod.Name, "is started again", func(pod *corev1.Pod) bool { return containerStatus(pod, "main").RestartCount == 1 })
	event := waitEvent(t, w.A, space, pod.Name, "Killing", "failed liveness probe")
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, pod), asJSON(event)+asJSON(pod.Status))
}

func restarts(t *testing.T, w *World) {
	space := namespace(t, w.A, "restarts")
	pod := createPod(t, w, w.A, space, `
metadata: {name: falls}
spec:
  containers:
  - {name: exits, image: IMAGE, command: [sh, -c, "echo my last words > /dev/termination-log; exit 7"]}
  - name: eats
    image: IMAGE
    command: [sh, -c, "head -c 100000000 /dev/zero | tail"]
    resources: {limits: {memory: 20Mi}}
`)
	pod = waitPod(t, w.A, space, pod.Name, "has started both containers twice", func(pod *corev1.Pod) bool {
		return containerStatus(pod, "exits").RestartCount >= 2 && containerStatus(pod, "eats").RestartCount >= 1
	})
	exited := containerStatus(pod, "exits").LastTerminationState.Terminated
	require.NotNil(t, exited)
	require.EqualValues(t, 7, exited.ExitCode)
	require.Equal(t, "my last words\n", exited.Message)
	waitPod(t, w.A, space, pod.Name, "shows who ate the memory", func(pod *corev1.Pod) bool {
		for _, state := range []corev1.ContainerState{containerStatus(pod, "eats").LastTerminationState, containerStatus(pod, "eats").State} {
			if state.Terminated != nil && state.Terminated.Reason == "OOMKilled" && state.Terminated.ExitCode == 137 {
				return true
			}
		}
		return false
	})
	pod = waitPod(t, w.A, space, pod.Name, "backs off", func(pod *corev1.Pod) bool {
		waiting := containerStatus(pod, "exits").State.Waiting
		return waiting != nil && waiting.Reason == "CrashLoopBackOff"
	})
	message := containerStatus(pod, "exits").State.Waiting.Message
	require.Contains(t, message, "restarting failed container=exits pod=falls_"+space+"("+string(pod.UID)+")")
	event := waitEvent(t, w.A, space, pod.Name, "BackOff", "restarting failed container")
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, pod), asJSON(pod.Status)+asJSON(event))
}

func deadline(t *testing.T, w *World) {
	space := namespace(t, w.A, "deadline")
	pod := createPod(t, w, w.A, space, `
metadata: {name: late}
spec: {activeDeadlineSeconds: 3, containers: [{name: main, image: IMAGE, command: IDLE}]}
`)
	pod = waitPod(t, w.A, space, pod.Name, "is ended", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodFailed })
	require.Equal(t, "DeadlineExceeded", pod.Status.Reason)

	// The deadline of a pod that runs can be brought forward.
	pod = runPod(t, w, w.A, space, `
metadata: {name: later}
spec: {activeDeadlineSeconds: 3600, containers: [{name: main, image: IMAGE, command: IDLE}]}
`)
	patchPod(t, w.A, pod, `{"spec":{"activeDeadlineSeconds":1}}`)
	waitPod(t, w.A, space, pod.Name, "is ended", func(pod *corev1.Pod) bool { return pod.Status.Reason == "DeadlineExceeded" })
}

func readinessGate(t *testing.T, w *World) {
	space := namespace(t, w.A, "gate")
	pod := createPod(t, w, w.A, space, `
metadata: {name: gated}
spec: {readinessGates: [{conditionType: example.com/warm}], containers: [{name: main, image: IMAGE}]}
`)
	waitPod(t, w.A, space, pod.Name, "has ready containers", func(pod *corev1.Pod) bool { return condition(pod, corev1.ContainersReady) == corev1.ConditionTrue })
	for _, want := range []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse} {
		patchPod(t, w.A, pod, `{"status":{"conditions":[{"type":"example.com/warm","status":"`+string(want)+`"}]}}`, "status")
		waitPod(t, w.A, space, pod.Name, "follows its gate: "+string(want), func(pod *corev1.Pod) bool {
			return condition(pod, corev1.PodReady) == want && condition(pod, "example.com/warm") == want
		})
	}
}

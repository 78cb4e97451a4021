package collect

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/syncer/resource"
)

// source is the log of one life of a container.
type source struct {
	side      *side
	namespace string
	pod       string
	container string
	previous  bool
	lines     int64
	keep      int
	name      string // of the file
}

// controlPlaneLogs takes those of the process, this life's and the one's before.
func (c *collector) controlPlaneLogs(ctx context.Context) error {
	pods, err := c.host.client.CoreV1().Pods(c.names.Namespace).List(ctx, metav1.ListOptions{LabelSelector: deploy.ControlPlaneLabel + "=" + c.names.Tenant})
	if err != nil {
		return c.denied(c.host, corev1.SchemeGroupVersion.WithResource("pods"), err)
	}
	if len(pods.Items) == 0 {
		c.problem("host: the tenant has no pod of a control plane", nil)
	}
	for i := range pods.Items {
		for _, one := range sources(c.host, &pods.Items[i], controlPlaneLogLines, controlPlaneLogBytes, "host", "logs", pods.Items[i].Name) {
			if err := c.log(ctx, one); err != nil {
				c.problem("host: log of "+one.pod+"/"+one.container, err)
			}
		}
	}
	return nil
}

// podLogTasks take those of the tenant's pods: by its own API as its user sees them, or by the host's when that is dead.
func (c *collector) podLogTasks(ctx context.Context) []task {
	s, namespace, options := c.virtual, metav1.NamespaceAll, metav1.ListOptions{Limit: maxObjects}
	if s == nil {
		s, namespace, options.LabelSelector = c.host, c.names.Namespace, resource.LabelTenant+"="+c.names.Tenant
	}
	list, err := s.client.CoreV1().Pods(namespace).List(ctx, options)
	if err != nil {
		c.problem(s.name+": pods, for their logs", err)
		return nil
	}
	pods := list.Items
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(trouble(&b), trouble(&a)) })
	var tasks []task
	for i := range pods {
		parts := []string{s.name, "logs", pods[i].Namespace, pods[i].Name}
		if s == c.host { // under the names that its user knows
			parts = []string{"virtual", "logs", pods[i].Annotations[resource.AnnotationNamespace], pods[i].Annotations[resource.AnnotationName]}
		}
		for _, one := range sources(s, &pods[i], podLogLines, podLogBytes, parts...) {
			if len(tasks) == maxLogs {
				c.problem(fmt.Sprintf("%s: only %d logs of pods are in the report, those in trouble first", s.name, maxLogs), nil)
				return tasks
			}
			tasks = append(tasks, task{"log of " + one.name, func(ctx context.Context) error { return c.log(ctx, one) }})
		}
	}
	return tasks
}

// trouble is more, the more there is to learn from a pod.
func trouble(pod *corev1.Pod) int {
	out := 0
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if status.RestartCount > 0 {
			out += 2
		}
		if ended := status.State.Terminated; ended != nil && ended.ExitCode != 0 {
			out += 2
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status != corev1.ConditionTrue && pod.Status.Phase != corev1.PodSucceeded {
			out++
		}
	}
	return out
}

// sources are the logs that a pod has.
func sources(s *side, pod *corev1.Pod, lines int64, keep int, parts ...string) []source {
	var out []source
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		one := source{side: s, namespace: pod.Namespace, pod: pod.Name, container: status.Name, lines: lines, keep: keep}
		if status.State.Running != nil || status.State.Terminated != nil {
			one.name = fileName(append(slices.Clone(parts), status.Name+".log")...)
			out = append(out, one)
		}
		if status.LastTerminationState.Terminated != nil {
			one.previous, one.name = true, fileName(append(slices.Clone(parts), status.Name+".previous.log")...)
			out = append(out, one)
		}
	}
	return out
}

// log takes the end of one.
func (c *collector) log(ctx context.Context, from source) error {
	stream, err := from.side.client.CoreV1().Pods(from.namespace).GetLogs(from.pod, &corev1.PodLogOptions{
		Container: from.container, Previous: from.previous, TailLines: &from.lines, Timestamps: true,
	}).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	kept := &tail{limit: from.keep}
	_, err = io.Copy(kept, io.LimitReader(stream, logReadBytes))
	if len(kept.kept) == 0 {
		return err
	}
	if err != nil {
		c.problem("the log "+from.name+" is cut", err)
	}
	return c.add(from.name, []byte(redactText(kept.text())))
}

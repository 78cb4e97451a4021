package collect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ofTenant guesses whether an event of the host namespace is about the tenant: by the name of what it is about, which for
// objects of the control plane begins with the tenant's, and for the tenant's own does as well.
func (c *collector) ofTenant(event *corev1.Event) bool {
	name := event.InvolvedObject.Name
	return name == c.names.Tenant || strings.Contains(name, c.names.Tenant+"-") || strings.HasSuffix(name, "-"+c.names.Tenant)
}

// events takes them as lines, in their order.
func (c *collector) events(ctx context.Context, s *side, namespace string, wanted func(*corev1.Event) bool) error {
	var events []corev1.Event
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := s.client.CoreV1().Events(namespace).List(ctx, options)
		if err != nil {
			return c.denied(s, corev1.SchemeGroupVersion.WithResource("events"), err)
		}
		for i := range list.Items {
			if wanted(&list.Items[i]) {
				events = append(events, list.Items[i])
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			break
		}
		if len(events) >= maxEvents {
			c.problem(fmt.Sprintf("%s: only %d events are in the report", s.name, len(events)), nil)
			break
		}
	}
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return when(&a).Compare(when(&b)) })
	var out strings.Builder
	for i := range events {
		event := &events[i]
		fmt.Fprintf(&out, "%s %-7s %s/%s %s %s: %s", when(event).UTC().Format(time.RFC3339), event.Type, strings.ToLower(event.InvolvedObject.Kind),
			event.InvolvedObject.Name, event.InvolvedObject.Namespace, event.Reason, strings.Join(strings.Fields(event.Message), " "))
		if event.Count > 1 {
			fmt.Fprintf(&out, " (%d times)", event.Count)
		}
		out.WriteByte('\n')
	}
	return c.add(fileName(s.name, "events.txt"), []byte(redactText(out.String())))
}

// when an event happened last.
func when(event *corev1.Event) time.Time {
	switch {
	case event.Series != nil:
		return event.Series.LastObservedTime.Time
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp.Time
	case !event.EventTime.IsZero():
		return event.EventTime.Time
	}
	return event.CreationTimestamp.Time
}

package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/resource"
)

// explanationValue bounds what is shown of a value, in runes: all of it is in -o yaml.
const explanationValue = 60

// explanationText is an explanation for people.
func explanationText(e explain.Explanation, now time.Time) string {
	out := &lines{now: now}
	name := e.Object.Name
	if e.Object.Namespace != "" {
		name = e.Object.Namespace + "/" + name
	}
	out.field("Object", e.Object.Kind+" "+name)
	out.field("State", fmt.Sprintf("%s: %s", e.State, e.Message))
	for _, stuck := range e.Stuck {
		out.field("Stuck on", stuck.Reason+": "+stuck.Message)
	}
	out.host(e.Host)
	out.status(e.Status)
	if e.Pods != nil {
		out.field("Pods", fmt.Sprintf("%d", e.Pods.Total))
		for _, pod := range e.Pods.Stuck {
			out.field("", fmt.Sprintf("%s: %s: %s: %s", pod.Name, pod.State, pod.Reason, pod.Message))
		}
	}
	out.changes(e.Changes)
	return out.String()
}

type lines struct {
	strings.Builder
	now time.Time
}

func (l *lines) field(name, value string) {
	if name != "" {
		name += ":"
	}
	fmt.Fprintf(l, "%-10s %s\n", name, value)
}

func (l *lines) ago(at metav1.Time) string {
	return duration.HumanDuration(l.now.Sub(at.Time)) + " ago"
}

func (l *lines) host(host *explain.Host) {
	if host == nil {
		return
	}
	name := host.Name
	if host.Namespace != "" {
		name = host.Namespace + "/" + name
	}
	if host.Created == nil {
		l.field("On host", name+" (not there)")
	} else {
		l.field("On host", fmt.Sprintf("%s (uid %s, made %s)", name, host.UID, l.ago(*host.Created)))
	}
	if answer := host.Answer; answer != nil && answer.Taken {
		l.field("Answer", fmt.Sprintf("%s taken %s", answer.Write, l.ago(answer.Time)))
	} else if answer != nil {
		l.field("Answer", fmt.Sprintf("%s refused %s: %s", answer.Write, l.ago(answer.Time), answer.Message))
	}
}

// status shows what is not as one would want it.
func (l *lines) status(status *explain.Status) {
	if status == nil {
		return
	}
	text := status.Phase
	if status.Message != "" {
		text = strings.TrimSpace(text + ": " + status.Message)
	}
	if status.Time != nil {
		text = strings.TrimSpace(text + " (came back " + l.ago(*status.Time) + ")")
	}
	l.field("Status", text)
	for _, condition := range status.Conditions {
		if condition.Status == "True" {
			continue
		}
		line := condition.Type + " is " + condition.Status
		if condition.Since != nil {
			line += " since " + duration.HumanDuration(l.now.Sub(condition.Since.Time))
		}
		for _, more := range []string{condition.Reason, condition.Message} {
			if more != "" {
				line += ": " + more
			}
		}
		l.field("", line)
	}
}

// changes are shown reason by reason, in the order of their first fields. What is changed
// of all objects alike is counted.
func (l *lines) changes(changes []explain.FieldChange) {
	if len(changes) == 0 {
		return
	}
	l.WriteString("\nChanged on the way to the host:\n")
	common := map[string]bool{}
	for _, reason := range resource.MetaReasons() {
		common[reason.Why] = true
	}
	var reasons []string
	alike := 0
	for _, change := range changes {
		if common[change.Reason] {
			alike += max(change.Count, 1)
			continue
		}
		if !slices.Contains(reasons, change.Reason) {
			reasons = append(reasons, change.Reason)
		}
	}
	for _, reason := range reasons {
		fmt.Fprintf(l, "  %s\n", strings.ToUpper(reason[:1])+reason[1:])
		width := 0
		for _, change := range changes {
			if change.Reason == reason {
				width = max(width, len(change.Field))
			}
		}
		for _, change := range changes {
			if change.Reason == reason {
				fmt.Fprintf(l, "    %-*s  %s\n", min(width, explanationValue), change.Field, changeText(change))
			}
		}
	}
	if alike > 0 {
		fmt.Fprintf(l, "  Name, marks and owner, as of all objects of this cluster: %d fields, which -o yaml shows\n", alike)
	}
}

func changeText(change explain.FieldChange) string {
	switch {
	case change.Count > 1:
		return fmt.Sprintf("%d %s, not shown", change.Count, strings.ToLower(string(change.Type)))
	case change.Hidden:
		return strings.ToLower(string(change.Type)) + ", not shown"
	case change.Type == resource.Removed:
		return "removed: " + short(change.From)
	case change.Type == resource.Added:
		return "added: " + short(change.To)
	}
	return short(change.From) + " -> " + short(change.To)
}

func short(value string) string {
	runes := []rune(value)
	if len(runes) > explanationValue {
		return string(runes[:explanationValue]) + "…"
	}
	return value
}

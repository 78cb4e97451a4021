// Package requests counts what an API server was asked for, by its own metrics: how many
// requests a burst costs, and that a cluster at rest is not written to.
package requests

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
)

// Kind of a request.
type Kind struct {
	Verb     string // as the metric writes it: GET, LIST, POST, PATCH, DELETECOLLECTION
	Resource string // plural, with its subresource: "pods/status"
}

// Counts are numbers of requests.
type Counts map[Kind]int

// Count reads apiserver_request_total; answers of every code count.
func Count(ctx context.Context, server kubernetes.Interface) (Counts, error) {
	page, err := server.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read /metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(page)))
	if err != nil {
		return nil, fmt.Errorf("parse /metrics: %w", err)
	}
	out := Counts{}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		var kind Kind
		subresource := ""
		for _, label := range metric.GetLabel() {
			switch label.GetName() {
			case "verb":
				kind.Verb = label.GetValue()
			case "resource":
				kind.Resource = label.GetValue()
			case "subresource":
				subresource = label.GetValue()
			}
		}
		if subresource != "" {
			kind.Resource += "/" + subresource
		}
		out[kind] += int(metric.GetCounter().GetValue())
	}
	return out, nil
}

// Since is what was counted after before.
func (c Counts) Since(before Counts) Counts {
	out := Counts{}
	for kind, count := range c {
		if count > before[kind] {
			out[kind] = count - before[kind]
		}
	}
	return out
}

// Writes are the requests that change something, but for those that keep agree with.
func (c Counts) Writes(keep func(Kind) bool) Counts {
	out := Counts{}
	for kind, count := range c {
		switch kind.Verb {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
			if keep == nil || keep(kind) {
				out[kind] = count
			}
		}
	}
	return out
}

// Total of all kinds.
func (c Counts) Total() int {
	sum := 0
	for _, count := range c {
		sum += count
	}
	return sum
}

// String is one line, the most frequent kinds first.
func (c Counts) String() string {
	kinds := make([]Kind, 0, len(c))
	for kind := range c {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b Kind) int {
		if d := c[b] - c[a]; d != 0 {
			return d
		}
		return strings.Compare(a.Verb+a.Resource, b.Verb+b.Resource)
	})
	var out []string
	for _, kind := range kinds {
		out = append(out, fmt.Sprintf("%d %s %s", c[kind], kind.Verb, kind.Resource))
	}
	return strings.Join(out, ", ")
}

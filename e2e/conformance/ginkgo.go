package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// specReport is what we read of ginkgo's types.SpecReport; its JSON is part of its API.
type specReport struct {
	ContainerHierarchyTexts []string
	LeafNodeType            string
	LeafNodeText            string
	State                   string
	RunTime                 time.Duration
	Failure                 struct{ Message string }
}

// ParseReport reads what `ginkgo --json-report` has written. Specs that were filtered out
// are not among the results: they are skipped without a word.
func ParseReport(data []byte) (map[string]Result, error) {
	var suites []struct{ SpecReports []specReport }
	if err := json.Unmarshal(data, &suites); err != nil {
		return nil, fmt.Errorf("ginkgo's report: %w", err)
	}
	found := map[string]Result{}
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			if spec.LeafNodeType != "It" {
				continue
			}
			result := Result{Seconds: spec.RunTime.Seconds(), Message: firstLine(spec.Failure.Message)}
			switch spec.State {
			case "passed":
				result.Outcome = Passed
			case "skipped", "pending":
				if result.Message == "" {
					continue
				}
				result.Outcome = Skipped
			default: // failed, panicked, interrupted, aborted, timedout
				result.Outcome = Failed
			}
			found[strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")] = result
		}
	}
	return found, nil
}

// messageLength bounds what a report quotes.
const messageLength = 300

// Bounded is as much of a message as a report quotes.
func Bounded(message string) string { return message[:min(len(message), messageLength)] }

func firstLine(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	return Bounded(line)
}

package podrules

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"nestling.dev/nestling/syncer/resource"
)

// Rule refuses pods.
type Rule struct {
	// Name is for people, in messages and in the audit log.
	Name string `json:"name"`
	// Expression is true of a pod that may not run.
	Expression string `json:"expression"`
	// Message tells the pod's author why, and what would be right.
	Message string `json:"message,omitempty"`
}

// Problem is a mistake in one rule.
type Problem struct {
	Index         int
	Field, Detail string
}

// Rules are compiled, and can be asked from several goroutines at once. Nil refuses nothing.
type Rules struct {
	rules    []Rule
	programs []cel.Program
}

// ReasonRefused is that of events on pods that were refused too late for an answer.
const ReasonRefused = "PodRefused"

const (
	// mostRules bounds what one pod can cost.
	mostRules = 64
	// longestExpression, in bytes, is upstream's for the same purpose.
	longestExpression = 10 << 10
)

// Compile reads rules. The problems are all there are; with any, there are no Rules.
func Compile(rules []Rule) (*Rules, []Problem) {
	if len(rules) == 0 {
		return nil, nil
	}
	if len(rules) > mostRules {
		return nil, []Problem{{Index: mostRules, Detail: fmt.Sprintf("is one more than the %d that there can be", mostRules)}}
	}
	compiler, err := newCompiler()
	if err != nil {
		return nil, []Problem{{Field: "expression", Detail: err.Error()}}
	}
	out := &Rules{rules: rules}
	var problems []Problem
	names := map[string]bool{}
	for i, rule := range rules {
		add := func(field, detail string) { problems = append(problems, Problem{i, field, detail}) }
		switch {
		case len(validation.IsDNS1123Label(rule.Name)) > 0:
			add("name", fmt.Sprintf("%q is not a DNS label, such as registry", rule.Name))
		case names[rule.Name]:
			add("name", fmt.Sprintf("%q is that of another rule already", rule.Name))
		}
		names[rule.Name] = true
		if strings.ContainsAny(rule.Message, "\r\n") {
			add("message", "has more than one line")
		}
		program, detail := compiler.compile(rule.Expression)
		if detail != "" {
			add("expression", detail)
		}
		out.programs = append(out.programs, program)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

// Refuse is why a pod may not run, in words for its author; nil: it may.
func (r *Rules) Refuse(pod *corev1.Pod) *resource.Rejection {
	if r == nil {
		return nil
	}
	input, err := activation(pod)
	if err != nil {
		return resource.Rejectf(ReasonRefused, "the rules of this cluster's operator can't be applied to the pod: %v", err)
	}
	for i, rule := range r.rules {
		refused, err := ask(r.programs[i], input)
		switch {
		case err != nil:
			return resource.Rejectf(ReasonRefused, "rule %q of this cluster's operator can't be applied to the pod: %v", rule.Name, err)
		case refused && rule.Message == "":
			return resource.Rejectf(ReasonRefused, "rule %q of this cluster's operator does not allow the pod", rule.Name)
		case refused:
			return resource.Rejectf(ReasonRefused, "rule %q of this cluster's operator does not allow the pod: %s", rule.Name, rule.Message)
		}
	}
	return nil
}

// ask evaluates a rule, within the cost that Kubernetes' environment allows one.
func ask(program cel.Program, input map[string]any) (refused bool, err error) {
	value, _, err := program.Eval(input)
	if err != nil {
		return false, err
	}
	refused, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it is a %s and no bool", value.Type().TypeName())
	}
	return refused, nil
}

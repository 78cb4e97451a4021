package pipelines

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// ActionFile is where the action is in the repository.
const ActionFile = ".github/actions/nestling/action.yml"

// Action is a composite action.
type Action struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Inputs      map[string]struct {
		Description string  `json:"description"`
		Required    bool    `json:"required"`
		Default     *string `json:"default"`
	} `json:"inputs"`
	Outputs map[string]struct {
		Description string `json:"description"`
		Value       string `json:"value"`
	} `json:"outputs"`
	Runs struct {
		Using string `json:"using"`
		Steps []struct {
			ID    string            `json:"id"`
			Shell string            `json:"shell"`
			Env   map[string]string `json:"env"`
			Run   string            `json:"run"`
		} `json:"steps"`
	} `json:"runs"`
}

// ReadAction reads one, and refuses fields that it does not know.
func ReadAction(path string) (*Action, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := &Action{}
	if err := yaml.UnmarshalStrict(content, out); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if out.Runs.Using != "composite" {
		return nil, fmt.Errorf("%s: runs.using is %q, not composite", path, out.Runs.Using)
	}
	for _, step := range out.Runs.Steps {
		if strings.Contains(step.Run, "${{") {
			return nil, fmt.Errorf("%s: step %s: an expression within a script is text of the script: give it by env", path, step.ID)
		}
		if step.Shell != "bash" {
			return nil, fmt.Errorf("%s: step %s: shell %q", path, step.ID, step.Shell)
		}
	}
	return out, nil
}

var expression = regexp.MustCompile(`\$\{\{\s*([a-z.-]+)\s*\}\}`)

// Command is the action's one step, as a runner starts it, with inputs, in the environment env. Its scripts and files are
// in temp, which is the runner's.
func (a *Action) Command(ctx context.Context, temp string, inputs map[string]string, env []string) (*exec.Cmd, error) {
	if len(a.Runs.Steps) != 1 {
		return nil, fmt.Errorf("the action has %d steps, which nobody here can run", len(a.Runs.Steps))
	}
	values := map[string]string{}
	for name, input := range a.Inputs {
		value, given := inputs[name]
		switch {
		case given:
			values["inputs."+name] = value
		case input.Required:
			return nil, fmt.Errorf("input %s is missing", name)
		case input.Default != nil:
			values["inputs."+name] = *input.Default
		}
	}
	for name := range inputs {
		if _, known := a.Inputs[name]; !known {
			return nil, fmt.Errorf("the action has no input %s", name)
		}
	}
	step := a.Runs.Steps[0]
	script := filepath.Join(temp, "step.sh")
	if err := os.WriteFile(script, []byte(step.Run), 0o600); err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "bash", "--noprofile", "--norc", "-eo", "pipefail", script)
	command.Env = append(append([]string{}, env...), "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+filepath.Join(temp, "output"))
	for name, text := range step.Env {
		var unknown string
		value := expression.ReplaceAllStringFunc(text, func(match string) string {
			key := expression.FindStringSubmatch(match)[1]
			if value, ok := values[key]; ok {
				return value
			}
			unknown = key
			return ""
		})
		if unknown != "" {
			return nil, fmt.Errorf("env %s: there is no %s", name, unknown)
		}
		command.Env = append(command.Env, name+"="+value)
	}
	return command, nil
}

// Outputs are what the step has written, by the names of the step.
func Outputs(temp string) (map[string]string, error) {
	content, err := os.ReadFile(filepath.Join(temp, "output"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		out[name] = value
	}
	return out, nil
}

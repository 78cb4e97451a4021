package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// GitLabFile is where the template is in the repository, and GitLabJob the hidden job that others extend.
const (
	GitLabFile = "scripts/ci/gitlab.yml"
	GitLabJob  = ".nestling"
)

// Job is a job of GitLab.
type Job struct {
	Variables   map[string]Variable `json:"variables"`
	Script      []string            `json:"script"`
	AfterScript []string            `json:"after_script"`
	Artifacts   struct {
		When     string   `json:"when"`
		Paths    []string `json:"paths"`
		ExpireIn string   `json:"expire_in"`
	} `json:"artifacts"`
}

// Variable is a value in which other variables are replaced, or one in which they are not.
type Variable struct {
	Value  string `json:"value"`
	Expand *bool  `json:"expand"`
}

// UnmarshalJSON takes the short form, too.
func (v *Variable) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &v.Value) == nil {
		return nil
	}
	type long Variable
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode((*long)(v))
}

// Verbatim is a variable in which nothing is replaced.
func Verbatim(value string) Variable { return Variable{Value: value, Expand: new(bool)} }

// ReadJob reads the template, and refuses fields that it does not know.
func ReadJob(path string) (*Job, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	jobs := map[string]*Job{}
	if err := yaml.UnmarshalStrict(content, &jobs); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(jobs) != 1 || jobs[GitLabJob] == nil {
		return nil, fmt.Errorf("%s: holds other jobs than %s", path, GitLabJob)
	}
	return jobs[GitLabJob], nil
}

// Commands are the job's script and what comes after it in any case, as a runner starts them in the directory dir: with
// the script on a shell's standard input. Variables that are given go over the job's.
func (j *Job) Commands(ctx context.Context, dir string, given map[string]Variable, env []string) (script, after *exec.Cmd) {
	all := map[string]Variable{}
	for name, value := range j.Variables {
		all[name] = value
	}
	for name, value := range given {
		all[name] = value
	}
	env = append([]string{}, env...)
	for name, variable := range all {
		value := variable.Value
		if variable.Expand == nil || *variable.Expand {
			value = os.Expand(value, func(other string) string { return all[other].Value }) // as the runner does, once
		}
		env = append(env, name+"="+value)
	}
	shell := func(lines []string) *exec.Cmd {
		command := exec.CommandContext(ctx, "sh")
		command.Dir, command.Env = dir, env
		command.Stdin = strings.NewReader("set -e\n" + strings.Join(lines, "\n") + "\n")
		return command
	}
	return shell(j.Script), shell(j.AfterScript)
}

// ArtifactFiles are the files that the job keeps.
func (j *Job) ArtifactFiles(dir string) (files []string, err error) {
	for _, path := range j.Artifacts.Paths {
		err := filepath.WalkDir(filepath.Join(dir, path), func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

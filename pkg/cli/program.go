package cli

import (
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

const (
	program = "nestling"
	// plugin is how kubectl finds it as one of its own, and pluginName how it is called then.
	plugin     = "kubectl-nestling"
	pluginName = "kubectl nestling"
)

// ProgramName is how a user has called the program, by the path of its file.
func ProgramName(path string) string {
	if strings.TrimSuffix(filepath.Base(path), ".exe") == plugin {
		return pluginName
	}
	return program
}

// rename makes the help speak of the program as its user has called it.
func rename(root *cobra.Command, name string) {
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: name}
	commands := commandsOf(root)
	var each func(*cobra.Command)
	each = func(command *cobra.Command) {
		command.Long, command.Example = spoken(command.Long, name, commands), spoken(command.Example, name, commands)
		for _, child := range command.Commands() {
			each(child)
		}
	}
	each(root)
}

// commandsOf matches what is told to be typed: the program and one of its commands.
func commandsOf(root *cobra.Command) *regexp.Regexp {
	var names []string
	for _, command := range root.Commands() {
		names = append(names, command.Name())
	}
	return regexp.MustCompile(`\b` + program + ` (` + strings.Join(names, "|") + `)\b`)
}

func spoken(text, name string, commands *regexp.Regexp) string {
	if name == program {
		return text
	}
	return commands.ReplaceAllString(text, name+" $1")
}

// speaking renames in what people read.
type speaking struct {
	io.Writer
	name     string
	commands *regexp.Regexp
}

func (s speaking) Write(line []byte) (int, error) {
	if _, err := s.Writer.Write([]byte(spoken(string(line), s.name, s.commands))); err != nil {
		return 0, err
	}
	return len(line), nil
}

package chart

import (
	"fmt"
	"reflect"
	"strings"

	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

// values is values.yaml: the defaults, with what each is.
func (d docs) values() (string, error) {
	var out strings.Builder
	out.WriteString("# " + generated + "\n#\n# The release's name is the tenant's, and its namespace the host namespace. The same file is what\n" +
		"# `nestling manifests NAME -f values.yaml` takes.\n")
	err := d.write(&out, reflect.ValueOf(*deploy.DefaultValues()), "")
	return out.String(), err
}

func (d docs) write(out *strings.Builder, in reflect.Value, indent string) error {
	for _, field := range fieldsOf(in.Type()) {
		if indent == "" {
			out.WriteString("\n")
		}
		for _, line := range d.of(in.Type(), field) {
			out.WriteString(strings.TrimRight(indent+"# "+line, " ") + "\n")
		}
		value := in.FieldByIndex(field.Index)
		switch {
		case value.Type() == reflect.TypeFor[config.Config]():
			out.WriteString(indent + field.name + ": {}\n")
			reference(out)
		case value.Kind() == reflect.Struct:
			out.WriteString(indent + field.name + ":\n")
			if err := d.write(out, value, indent+"  "); err != nil {
				return err
			}
		default:
			text, err := yaml.Marshal(map[string]any{field.name: value.Interface()})
			if err != nil {
				return fmt.Errorf("write %s: %w", field.name, err)
			}
			for line := range strings.Lines(string(text)) {
				out.WriteString(indent + line)
			}
		}
	}
	return nil
}

// reference lists the settings, commented out: what is left out keeps the default of the version that runs.
func reference(out *strings.Builder) {
	var before []string
	for _, setting := range config.Reference() {
		path := strings.Split(setting.Path, ".")
		parents, name := path[:len(path)-1], path[len(path)-1]
		for depth, parent := range parents {
			if depth >= len(before) || before[depth] != parent {
				before = nil
				out.WriteString("#   " + strings.Repeat("  ", depth) + parent + ":\n")
			}
		}
		before = parents
		indent := "#   " + strings.Repeat("  ", len(parents))
		out.WriteString(indent + "# " + inFile(setting.Usage) + "\n" + indent + name + ":")
		if text := setting.Default(); text != "" {
			out.WriteString(" " + text)
		}
		out.WriteString("\n")
	}
}

// inFile are the words about a flag as they hold in a file, where lists are lists and documents stand in place.
func inFile(usage string) string {
	return strings.NewReplacer("file with a", "a", "YAML file of objects", "objects", ", separated by commas", "", "as KEY=VALUE", "by key").Replace(usage)
}

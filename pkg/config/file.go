package config

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	yamldocs "k8s.io/apimachinery/pkg/util/yaml"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// File reads what a file says, and no more: fields that it leaves out are zero, not their defaults.
func File(name string) (*Config, error) {
	c := &Config{}
	return c, c.readFile(name)
}

// Strict reads the one YAML document in data, which came from the file of that name. Unknown and doubled fields, and
// values that do not fit, are an *Error that names the field.
func Strict(name string, data []byte, into any) error {
	raw, err := toJSON(name, data)
	if err != nil {
		return err
	}
	return strictly(name, raw, into)
}

func (c *Config) readFile(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return problem("", err.Error())
	}
	return c.applyFile(name, data)
}

// applyFile sets what the file says on c. It is strict: an unknown or doubled field is an error, not ignored.
func (c *Config) applyFile(name string, data []byte) error {
	raw, err := toJSON(name, data)
	if err != nil {
		return err
	}
	if err := checkHead(name, raw); err != nil {
		return err
	}
	return strictly(name, raw, c)
}

func toJSON(name string, data []byte) ([]byte, error) {
	document, err := single(data)
	if err != nil {
		return nil, problem("", fmt.Sprintf("%s: %v", name, err))
	}
	raw, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, problem("", fmt.Sprintf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	return raw, nil
}

func strictly(name string, raw []byte, into any) error {
	strict, err := strictjson.UnmarshalStrict(raw, into)
	if err != nil {
		return typeProblem(name, err)
	}
	var found Error
	for _, err := range strict {
		found.Problems = append(found.Problems, strictProblem(err))
	}
	if len(found.Problems) > 0 {
		return &found
	}
	return nil
}

// single returns the only YAML document of a file; more than one would be half ignored.
func single(data []byte) ([]byte, error) {
	reader := yamldocs.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	first, err := reader.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for {
		next, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return first, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(next)) > 0 {
			return nil, errors.New("holds more than one YAML document")
		}
	}
}

// checkHead tells a file of another kind or version from one with mistakes in it.
func checkHead(name string, raw []byte) error {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return problem("", fmt.Sprintf("%s: is no YAML mapping with apiVersion and kind", name))
	}
	if head.APIVersion != APIVersion {
		return problem("apiVersion", fmt.Sprintf("%q in %s: want %s", head.APIVersion, name, APIVersion))
	}
	if head.Kind != Kind {
		return problem("kind", fmt.Sprintf("%q in %s: want %s", head.Kind, name, Kind))
	}
	return nil
}

// strictProblem turns `unknown field "sync.foo"` into a problem of that field.
func strictProblem(err error) Problem {
	message := err.Error()
	for _, reason := range []string{"unknown field", "duplicate field"} {
		if quoted, ok := strings.CutPrefix(message, reason+" "); ok {
			return Problem{Field: strings.Trim(quoted, `"`), Detail: reason}
		}
	}
	return Problem{Detail: message}
}

// typeProblem names the field of a value that does not fit.
func typeProblem(name string, err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return problem(cmp.Or(mismatch.Field, name), fmt.Sprintf("want %s, found %s", kindName(mismatch.Type), mismatch.Value))
	}
	return problem("", fmt.Sprintf("%s: %v", name, err))
}

// kindName says a Go type in the words of YAML.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "an integer"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	default:
		return "a mapping"
	}
}

package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	yamldocs "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Document is a document of Kubernetes' own, written into the file as it stands in upstream's documentation. Upstream
// reads it; we only make sure, beforehand, that it will.
type Document map[string]any

// bytes is the document for a file.
func (d Document) bytes() []byte {
	out, err := json.Marshal(map[string]any(d))
	if err != nil {
		panic(err) // it was read from JSON
	}
	return out
}

// decode reads a document strictly, as upstream does, into a type of its scheme.
func (d Document) decode(field string, scheme *runtime.Scheme, into runtime.Object) []Problem {
	wanted, _, err := scheme.ObjectKinds(into)
	if err != nil {
		return []Problem{{field, err.Error()}}
	}
	if d["kind"] != wanted[0].Kind {
		return []Problem{{field + ".kind", fmt.Sprintf("%q: want %s", word(d["kind"]), wanted[0].Kind)}}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	_, _, err = decoder.Decode(d.bytes(), nil, into)
	return decodeProblems(field, word(d["apiVersion"]), err)
}

// decodeProblems names the fields of what a strict decoder complains about.
func decodeProblems(field, apiVersion string, err error) []Problem {
	strict, isStrict := runtime.AsStrictDecodingError(err)
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case isStrict:
		var problems []Problem
		for _, err := range strict.Errors() {
			problems = append(problems, under(field, strictProblem(err)))
		}
		return problems
	case runtime.IsNotRegisteredError(err), runtime.IsMissingVersion(err):
		return []Problem{{field + ".apiVersion", fmt.Sprintf("%q is not one that this version reads", apiVersion)}}
	case errors.As(err, &mismatch) && mismatch.Field != "":
		return []Problem{{field + "." + mismatch.Field, fmt.Sprintf("want %s, found %s", kindName(mismatch.Type), mismatch.Value)}}
	}
	return []Problem{{field, err.Error()}}
}

// under puts a problem of a part into its place in the file.
func under(field string, part Problem) Problem {
	if part.Field == "" {
		return Problem{field, part.Detail}
	}
	return Problem{field + "." + part.Field, part.Detail}
}

// fieldProblems are upstream's complaints about a part of the file.
func fieldProblems(path string, list field.ErrorList) []Problem {
	var problems []Problem
	for _, err := range list {
		problems = append(problems, under(path, Problem{strings.TrimPrefix(err.Field, "."), err.ErrorBody()}))
	}
	return problems
}

// documentFile is the flag of a document: the path of a file that holds it.
type documentFile struct {
	to   *Document
	path string
}

func (d *documentFile) String() string { return d.path }
func (*documentFile) Type() string     { return "file" }

func (d *documentFile) Set(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data, err = single(data)
	if err != nil {
		return err
	}
	read := Document{}
	if err := yaml.UnmarshalStrict(data, &read); err != nil {
		return fmt.Errorf("is no YAML mapping: %w", err)
	}
	*d.to, d.path = read, path
	return nil
}

// listFile is the flag of a list that has more to it than words: the path of a YAML file that holds it.
type listFile[T any] struct {
	to   *[]T
	path string
}

func (l *listFile[T]) String() string { return l.path }
func (*listFile[T]) Type() string     { return "file" }

func (l *listFile[T]) Set(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var read []T
	if err := yaml.UnmarshalStrict(data, &read); err != nil {
		return fmt.Errorf("is no YAML list: %w", err)
	}
	*l.to, l.path = read, path
	return nil
}

// documentsFile is the flag of a list of documents: the path of a YAML file that holds them one after the other.
type documentsFile struct {
	to   *[]Document
	path string
}

func (d *documentsFile) String() string { return d.path }
func (*documentsFile) Type() string     { return "file" }

func (d *documentsFile) Set(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var read []Document
	for reader := yamldocs.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			*d.to, d.path = read, path
			return nil
		}
		if err != nil {
			return err
		}
		var document Document
		if err := yaml.UnmarshalStrict(text, &document); err != nil {
			return fmt.Errorf("document %d is no YAML mapping: %w", len(read)+1, err)
		}
		if len(document) > 0 { // no comment between two others
			read = append(read, document)
		}
	}
}

// word is a value as its author wrote it; nothing, where there is none.
func word(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

package chart

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// docs are the comments of types and fields: "import/path.Type" or "import/path.Type.Field" → lines.
type docs map[string][]string

// readDocs reads the sources of packages: import path → directory.
func readDocs(sources map[string]string) (docs, error) {
	out := docs{}
	for path, directory := range sources {
		names, err := filepath.Glob(filepath.Join(directory, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				return nil, fmt.Errorf("read the comments of %s: %w", name, err)
			}
			ast.Inspect(file, func(node ast.Node) bool {
				declared, ok := node.(*ast.GenDecl)
				if !ok {
					return true
				}
				for _, spec := range declared.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						out.add(path+"."+spec.Name.Name, spec.Doc, declared.Doc)
						out.fields(path+"."+spec.Name.Name, spec.Type)
					}
				}
				return false
			})
		}
	}
	return out, nil
}

func (d docs) fields(path string, of ast.Expr) {
	structure, ok := of.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range structure.Fields.List {
		for _, name := range field.Names {
			d.add(path+"."+name.Name, field.Doc, field.Comment)
		}
	}
}

func (d docs) add(name string, groups ...*ast.CommentGroup) {
	for _, group := range groups {
		if text := strings.TrimSpace(group.Text()); text != "" {
			d[name] = strings.Split(text, "\n")
			return
		}
	}
}

// of is the comment of a field, or else of its type, with the field called as in a file.
func (d docs) of(parent reflect.Type, in field) []string {
	lines := d[parent.PkgPath()+"."+parent.Name()+"."+in.Name]
	if len(lines) == 0 && in.Type.Name() != "" {
		lines = d[in.Type.PkgPath()+"."+in.Type.Name()]
	}
	out := append([]string{}, lines...)
	for i, line := range out {
		if i == 0 {
			line = strings.Replace(line, in.Name+" ", in.name+" ", 1)
		}
		out[i] = line
	}
	return out
}

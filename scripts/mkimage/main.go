// Mkimage writes a container image as a tar, without a container tool:
//
//	mkimage -o nestling.tar -name nestling.dev/nestling:dev -entrypoint /nestling -user 65532:65532 nestling=bin/nestling
//
// A file is path=source, path=->target for a symbolic link or path=text:content.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"nestling.dev/nestling/e2e/image"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("mkimage", flag.ExitOnError)
	out := flags.String("o", "", "the tar to write")
	target := image.Image{}
	flags.StringVar(&target.Name, "name", "", "registry/path:tag")
	flags.StringVar(&target.Architecture, "arch", "", "architecture, this machine's by default")
	flags.StringVar(&target.User, "user", "", "uid, uid:gid or name")
	flags.StringVar(&target.WorkingDir, "workdir", "", "working directory")
	flags.Func("entrypoint", "entrypoint, one word each time", appendTo(&target.Entrypoint))
	flags.Func("cmd", "arguments, one word each time", appendTo(&target.Cmd))
	flags.Func("env", "NAME=value", appendTo(&target.Env))
	flags.Func("label", "key=value", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("want key=value")
		}
		if target.Labels == nil {
			target.Labels = map[string]string{}
		}
		target.Labels[key] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || target.Name == "" {
		return fmt.Errorf("-o and -name are needed")
	}
	var layer image.Layer
	for _, arg := range flags.Args() {
		file, err := parseFile(arg)
		if err != nil {
			return err
		}
		layer = append(layer, file)
	}
	target.Layers = []image.Layer{layer}
	return image.WriteFile(*out, target)
}

func appendTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
}

func parseFile(arg string) (image.File, error) {
	path, source, ok := strings.Cut(arg, "=")
	if !ok || source == "" {
		return image.File{}, fmt.Errorf("file %q: want path=source, path=->target or path=text:content", arg)
	}
	if target, ok := strings.CutPrefix(source, "->"); ok {
		return image.File{Path: path, Link: target}, nil
	}
	if text, ok := strings.CutPrefix(source, "text:"); ok {
		return image.File{Path: path, Text: text}, nil
	}
	return image.File{Path: path, Source: source}, nil
}

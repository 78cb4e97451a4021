package controlplane

import (
	"fmt"
	"maps"
	"os"
	"slices"

	cliflag "k8s.io/component-base/cli/flag"
)

// setFlags sets upstream's flags by name; later maps win over earlier ones. It
// is the one way in which this package configures upstream, where there is a
// flag: names and formats of flags are upstream's most stable surface.
func setFlags(sets *cliflag.NamedFlagSets, values ...map[string]string) error {
	merged := map[string]string{}
	for _, flags := range values {
		maps.Copy(merged, flags)
	}
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		found := false
		for _, set := range sets.FlagSets {
			if set.Lookup(name) == nil {
				continue
			}
			if err := set.Set(name, merged[name]); err != nil {
				return fmt.Errorf("flag --%s: %w", name, err)
			}
			found = true
			break
		}
		if !found {
			return fmt.Errorf("flag --%s: there is no such flag", name)
		}
	}
	return nil
}

// writeFiles writes one file per flag into dir, which only this user may read,
// and returns their paths by flag.
func writeFiles(dir string, contents map[string][]byte) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create directory for certificates: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory for certificates private: %w", err)
	}
	paths := map[string]string{}
	for flag, content := range contents {
		paths[flag] = flagFile(dir, flag)
		if err := replaceFile(paths[flag], content); err != nil {
			return nil, fmt.Errorf("write the file for --%s: %w", flag, err)
		}
	}
	return paths, nil
}

// replaceFile never leaves half a file, nor an old one's mode.
func replaceFile(path string, content []byte) error {
	temporary := path + ".new"
	_ = os.Remove(temporary)
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

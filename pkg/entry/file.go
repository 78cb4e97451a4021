package entry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File is a kubeconfig in a directory of its own that nobody else may look into.
type File struct {
	Path string
	dir  string
}

// Temporary writes content for as long as it is needed. The directory is made for it, under a name that cannot be
// guessed, and fails to be made where something is: no link of somebody else's is ever followed.
func Temporary(tenant string, content []byte) (*File, error) {
	dir, err := os.MkdirTemp("", "nestling-"+tenant+"-") // 0700
	if err != nil {
		return nil, fmt.Errorf("directory for the temporary kubeconfig: %w", err)
	}
	f := &File{Path: filepath.Join(dir, "kubeconfig"), dir: dir}
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = file.Write(content)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the temporary kubeconfig: %w", err), f.Remove())
	}
	return f, nil
}

// Remove removes the file with its directory.
func (f *File) Remove() error { return os.RemoveAll(f.dir) }

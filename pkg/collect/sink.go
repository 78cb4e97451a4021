package collect

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Sink keeps the files of a report.
type Sink interface {
	// Add writes one file; its name has slashes, and was made by fileName.
	Add(name string, content []byte) error
	// Close ends the report.
	Close() error
	// Path is where it is.
	Path() string
}

// summaryFile is in every report, and tells a report from a directory of somebody's.
const summaryFile = "report.json"

// CheckDirectory finds out whether a report can be written to a directory: one that is not there, is empty, or holds an
// earlier report.
func CheckDirectory(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return nil
	case err != nil:
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return fmt.Errorf("%s: %w", dir, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, summaryFile))
	var earlier Report
	if err != nil || json.Unmarshal(content, &earlier) != nil || earlier.Tenant == "" {
		return fmt.Errorf("%s: the directory is not empty, and holds no earlier report: choose another", dir)
	}
	return nil
}

// directory is a report in a directory. No link below it leads out of it.
type directory struct {
	path string
	root *os.Root
}

// Directory makes one, in the place of an earlier report if there is one.
func Directory(dir string) (Sink, error) {
	if err := CheckDirectory(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	for _, part := range []string{"host", "virtual", summaryFile} {
		if err := root.RemoveAll(part); err != nil {
			return nil, errors.Join(err, root.Close())
		}
	}
	return &directory{dir, root}, nil
}

func (d *directory) Add(name string, content []byte) error {
	if err := d.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	return d.root.WriteFile(name, content, 0o600)
}

func (d *directory) Close() error { return d.root.Close() }
func (d *directory) Path() string { return d.path }

// archive is a report in a tar file.
type archive struct {
	path string
	now  time.Time

	mu   sync.Mutex
	file *os.File
	zip  *gzip.Writer
	tar  *tar.Writer
	base string
}

// Archive makes one, which must not exist. Files in it are in a directory named after it.
func Archive(file string, now time.Time) (Sink, error) {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	a := &archive{path: file, now: now, file: out, zip: gzip.NewWriter(out)}
	a.tar = tar.NewWriter(a.zip)
	a.base = filepath.Base(file)
	for _, suffix := range []string{".tgz", ".gz", ".tar"} {
		a.base = strings.TrimSuffix(a.base, suffix)
	}
	return a, nil
}

func (a *archive) Add(name string, content []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	header := &tar.Header{Name: path.Join(a.base, name), Mode: 0o600, Size: int64(len(content)), ModTime: a.now, Typeflag: tar.TypeReg}
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := a.tar.Write(content)
	return err
}

func (a *archive) Close() error { return errors.Join(a.tar.Close(), a.zip.Close(), a.file.Close()) }
func (a *archive) Path() string { return a.path }

// maxPart is more than any name of Kubernetes has.
const maxPart = 253

// fileName joins parts to the name of a file. The parts come from API servers, that of a tenant among them, which can say
// anything: each becomes one plain path element.
func fileName(parts ...string) string {
	for i, part := range parts {
		part = strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
				return r
			}
			return '_'
		}, part)
		part = part[:min(len(part), maxPart)]
		if strings.Trim(part, ".") == "" {
			part = strings.Repeat("_", max(1, len(part)))
		}
		parts[i] = part
	}
	return path.Join(parts...)
}

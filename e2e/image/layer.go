package image

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// writeTo writes the layer as an uncompressed tar, sorted by path. Uncompressed,
// because what is imported on the same machine costs less to read than to unpack,
// and pushing tools compress on their own.
func (l Layer) writeTo(w io.Writer) error {
	files := slices.Clone(l)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.clean(), b.clean()) })
	archive := tar.NewWriter(w)
	written := map[string]bool{".": true}
	for _, file := range files {
		if err := writeParents(archive, path.Dir(file.clean()), written); err != nil {
			return err
		}
		if err := file.writeTo(archive); err != nil {
			return fmt.Errorf("image: %s: %w", file.Path, err)
		}
		written[file.clean()] = true
	}
	return archive.Close()
}

// writeParents adds the directories that no File names. One that is named is
// written already: it sorts before everything in it.
func writeParents(archive *tar.Writer, dir string, written map[string]bool) error {
	if written[dir] {
		return nil
	}
	if err := writeParents(archive, path.Dir(dir), written); err != nil {
		return err
	}
	written[dir] = true
	return File{Path: dir, Dir: true}.writeTo(archive)
}

func (f File) writeTo(archive *tar.Writer) error {
	header := &tar.Header{Name: f.clean(), Mode: int64(f.Mode.Perm()), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if f.Mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	if f.Mode&fs.ModeSetuid != 0 {
		header.Mode |= 0o4000
	}
	defaultMode := func(mode int64) {
		if f.Mode == 0 {
			header.Mode = mode
		}
	}
	switch {
	case f.Dir:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		defaultMode(0o755)
		return archive.WriteHeader(header)
	case f.Link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
		defaultMode(0o777)
		return archive.WriteHeader(header)
	case f.Source != "":
		return f.writeSource(archive, header, defaultMode)
	}
	header.Typeflag, header.Size = tar.TypeReg, int64(len(f.Text))
	defaultMode(0o644)
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.WriteString(archive, f.Text)
	return err
}

func (f File) writeSource(archive *tar.Writer, header *tar.Header, defaultMode func(int64)) error {
	source, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.Source)
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	// Only the execute bit of the source counts: the rest depends on the umask of
	// whoever built it, and an image must not.
	defaultMode(0o644)
	if f.Mode == 0 && info.Mode()&0o111 != 0 {
		header.Mode = 0o755
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	// A file that grows meanwhile must not run over its size.
	_, err = io.CopyN(archive, source, info.Size())
	return err
}

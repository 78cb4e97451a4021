package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Media types of the OCI image specification 1.0.
const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// blob is content that is known by its digest; write produces it again.
type blob struct {
	mediaType string
	digest    string // sha256 in hex
	size      int64  // bytes
	write     func(io.Writer) error
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

func (b blob) path() string { return "blobs/sha256/" + b.digest }

func (b blob) descriptor() descriptor {
	return descriptor{MediaType: b.mediaType, Digest: "sha256:" + b.digest, Size: b.size}
}

// newBlob runs write once to learn digest and size: layers are read twice rather
// than held in memory.
func newBlob(mediaType string, write func(io.Writer) error) (blob, error) {
	sum := sha256.New()
	count := &countingWriter{to: sum}
	if err := write(count); err != nil {
		return blob{}, err
	}
	return blob{mediaType: mediaType, digest: hex.EncodeToString(sum.Sum(nil)), size: count.n, write: write}, nil
}

func jsonBlob(mediaType string, v any) (blob, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return blob{}, err
	}
	return newBlob(mediaType, func(w io.Writer) error { _, err := w.Write(data); return err })
}

type countingWriter struct {
	to io.Writer
	n  int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// WriteFile writes the archive to a file, which appears only when it is whole.
func WriteFile(name string, image Image) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if err := Write(file, image); err != nil {
		_ = file.Close()
		return err
	}
	// CreateTemp makes it 0600; an image is for others too.
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

// Write writes the archive of one image.
func Write(w io.Writer, image Image) error {
	if err := image.validate(); err != nil {
		return err
	}
	var layers []blob
	for _, layer := range image.Layers {
		b, err := newBlob(layerType, layer.writeTo)
		if err != nil {
			return err
		}
		layers = append(layers, b)
	}
	config, err := jsonBlob(configType, image.config(layers))
	if err != nil {
		return err
	}
	manifest, err := jsonBlob(manifestType, ociManifest(config, layers))
	if err != nil {
		return err
	}
	blobs := append(slices.Clone(layers), config, manifest)

	archive := tar.NewWriter(w)
	written := map[string]bool{}
	for _, b := range blobs {
		if written[b.digest] {
			continue // two equal layers are one blob
		}
		written[b.digest] = true
		if err := addFile(archive, b.path(), b.size, b.write); err != nil {
			return err
		}
	}
	for _, index := range []struct {
		name string
		v    any
	}{
		{"index.json", ociIndex(image, manifest)},
		{"manifest.json", dockerManifest(image, config, layers)},
		{"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}},
	} {
		data, err := json.Marshal(index.v)
		if err != nil {
			return err
		}
		if err := addFile(archive, index.name, int64(len(data)), func(w io.Writer) error {
			_, err := io.Copy(w, bytes.NewReader(data))
			return err
		}); err != nil {
			return err
		}
	}
	return archive.Close()
}

func ociManifest(config blob, layers []blob) any {
	manifest := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{2, manifestType, config.descriptor(), []descriptor{}}
	for _, layer := range layers {
		manifest.Layers = append(manifest.Layers, layer.descriptor())
	}
	return manifest
}

func ociIndex(image Image, manifest blob) any {
	d := manifest.descriptor()
	d.Platform = map[string]string{"architecture": image.architecture(), "os": "linux"}
	// containerd takes the name from the first, other tools from the second.
	d.Annotations = map[string]string{
		"io.containerd.image.name":          image.Name,
		"org.opencontainers.image.ref.name": image.Name,
	}
	return struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, indexType, []descriptor{d}}
}

func dockerManifest(image Image, config blob, layers []blob) any {
	paths := []string{}
	for _, layer := range layers {
		paths = append(paths, layer.path())
	}
	return []map[string]any{{"Config": config.path(), "RepoTags": []string{image.Name}, "Layers": paths}}
}

func addFile(archive *tar.Writer, name string, size int64, write func(io.Writer) error) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if err := write(archive); err != nil {
		return fmt.Errorf("image: write %s: %w", name, err)
	}
	return nil
}

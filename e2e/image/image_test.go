package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/e2e/image"
)

func sample(t *testing.T) image.Image {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(program, []byte("\x7fELF"), 0o700))
	return image.Image{
		Name: "nestling.dev/sample:1", Architecture: "amd64", Entrypoint: []string{"/bin/program"}, User: "65532:65532",
		Labels: map[string]string{"b": "2", "a": "1"},
		Layers: []image.Layer{
			{{Path: "tmp", Dir: true, Mode: os.ModeSticky | 0o777}, {Path: "/etc/motd", Text: "hello\n"}},
			{{Path: "usr/bin/alias", Link: "/bin/program"}, {Path: "/bin/program", Source: program}},
		},
	}
}

func TestSameDescriptionGivesSameBytes(t *testing.T) {
	t.Parallel()
	one := sample(t)
	two := one
	two.Layers = []image.Layer{{one.Layers[0][1], one.Layers[0][0]}, {one.Layers[1][1], one.Layers[1][0]}}
	var a, b bytes.Buffer
	require.NoError(t, image.Write(&a, one))
	require.NoError(t, image.Write(&b, two))
	require.True(t, bytes.Equal(a.Bytes(), b.Bytes()), "order of the files in the description must not matter")
}

func TestArchiveIsAnOCILayoutAndADockerArchive(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, image.Write(&out, sample(t)))
	files := untar(t, &out)

	for name, content := range files {
		if digest, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			sum := sha256.Sum256(content)
			require.Equal(t, digest, hex.EncodeToString(sum[:]), "a blob is named by its digest")
		}
	}
	var docker []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	require.NoError(t, json.Unmarshal(files["manifest.json"], &docker))
	require.Len(t, docker, 1)
	require.Equal(t, []string{"nestling.dev/sample:1"}, docker[0].RepoTags)

	var index struct{ Manifests []struct{ Digest string } }
	require.NoError(t, json.Unmarshal(files["index.json"], &index))
	var manifest struct{ Config, Layers any }
	require.NoError(t, json.Unmarshal(files[blobPath(index.Manifests[0].Digest)], &manifest))

	var config map[string]any
	require.NoError(t, json.Unmarshal(files[docker[0].Config], &config))
	want := map[string]any{
		"User": "65532:65532", "Entrypoint": []any{"/bin/program"}, "Labels": map[string]any{"a": "1", "b": "2"},
		"Env": []any{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if diff := cmp.Diff(want, config["config"]); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}

	var entries []string
	for _, layer := range docker[0].Layers {
		archive := tar.NewReader(bytes.NewReader(files[layer]))
		for {
			header, err := archive.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			entries = append(entries, header.FileInfo().Mode().String()+" "+header.Name)
		}
	}
	wantEntries := []string{
		"drwxr-xr-x etc/", "-rw-r--r-- etc/motd", "dtrwxrwxrwx tmp/",
		"drwxr-xr-x bin/", "-rwxr-xr-x bin/program", "drwxr-xr-x usr/", "drwxr-xr-x usr/bin/", "Lrwxrwxrwx usr/bin/alias",
	}
	if diff := cmp.Diff(wantEntries, entries); diff != "" {
		t.Errorf("layer entries (-want +got):\n%s", diff)
	}
}

func TestBadDescriptionsAreRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(*image.Image)
		want   string
	}{
		"a name without a registry": {func(i *image.Image) { i.Name = "nestling:dev" }, "registry/path:tag"},
		"a name without a tag":      {func(i *image.Image) { i.Name = "nestling.dev/nestling" }, "want a tag"},
		"the same path twice":       {func(i *image.Image) { i.Layers = []image.Layer{{{Path: "/a"}, {Path: "a"}}} }, "twice"},
		"the root as a file":        {func(i *image.Image) { i.Layers = []image.Layer{{{Path: "/.."}}} }, "names no file"},
		"a link with content":       {func(i *image.Image) { i.Layers = []image.Layer{{{Path: "/a", Link: "b", Text: "c"}}} }, "more than one"},
		"a source that is not there": {
			func(i *image.Image) { i.Layers = []image.Layer{{{Path: "/a", Source: "/does/not/exist"}}} }, "/does/not/exist",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := sample(t)
			c.change(&bad)
			require.ErrorContains(t, image.Write(io.Discard, bad), c.want)
		})
	}
}

func TestWriteFileLeavesNothingBehindWhenItFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := sample(t)
	bad.Layers = []image.Layer{{{Path: "/a", Source: "/does/not/exist"}}}
	require.Error(t, image.WriteFile(filepath.Join(dir, "image.tar"), bad))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func blobPath(digest string) string {
	return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
}

func untar(t *testing.T, from io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return files
		}
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		require.NotContains(t, files, header.Name, "each entry once")
		files[header.Name] = content
	}
}

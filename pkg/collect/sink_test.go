package collect

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFileNamesLeadNowhere(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"pods":                     "pods",
		"../../etc/passwd":         ".._.._etc_passwd",
		"..":                       "__",
		".":                        "_",
		"":                         "_",
		"a\x00b\n":                 "a_b_",
		"system:node":              "system_node",
		strings.Repeat("x", 1<<10): strings.Repeat("x", maxPart),
		"C:\\x":                    "C__x",
		"widgets.example.org.yaml": "widgets.example.org.yaml",
		"ünïcode":                  "_n_code",
	} {
		require.Equal(t, filepath.Join("virtual", "objects", want), fileName("virtual", "objects", in))
	}
}

func TestDirectories(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.Mkdir(outside, 0o755))
	base := t.TempDir()
	dir := filepath.Join(base, "new", "report")

	sink, err := Directory(dir)
	require.NoError(t, err)
	require.NoError(t, sink.Add("host/logs/a.log", []byte("text")))
	require.NoError(t, sink.Add(summaryFile, []byte(`{"tenant": "team-a"}`)))
	require.NoError(t, sink.Close())
	info, err := os.Stat(filepath.Join(dir, "host/logs/a.log"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	// An earlier report gives way, and nothing else of the directory.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "virtual")))
	sink, err = Directory(dir)
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(dir, "host/logs/a.log"))
	require.FileExists(t, filepath.Join(dir, "notes"))
	require.DirExists(t, outside)

	// A link that is put there meanwhile is not followed.
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "host")))
	require.Error(t, sink.Add("host/x", []byte("text")))
	require.NoError(t, sink.Close())
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestDirectoriesOfOthers(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	file := filepath.Join(base, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, CheckDirectory(file), file+": not a directory")
	_, err := Directory(base)
	require.EqualError(t, err, base+": the directory is not empty, and holds no earlier report: choose another")
	require.NoError(t, os.WriteFile(filepath.Join(base, summaryFile), []byte(`{"other": 1}`), 0o600))
	require.Error(t, CheckDirectory(base))
	require.NoError(t, CheckDirectory(filepath.Join(base, "missing")))
}

func TestArchives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "team-a.tar.gz")
	sink, err := Archive(path, time.Unix(1, 0))
	require.NoError(t, err)
	require.NoError(t, sink.Add("host/a.log", []byte("text")))
	require.NoError(t, sink.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	zip, err := gzip.NewReader(file)
	require.NoError(t, err)
	in := tar.NewReader(zip)
	header, err := in.Next()
	require.NoError(t, err)
	require.Equal(t, "team-a/host/a.log", header.Name)
	text, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
	_, err = in.Next()
	require.ErrorIs(t, err, io.EOF)

	_, err = Archive(path, time.Unix(1, 0))
	require.True(t, errors.Is(err, os.ErrExist), "what is there is not overwritten")
}

func TestTail(t *testing.T) {
	t.Parallel()
	kept := &tail{limit: 10}
	for range 1000 {
		_, err := kept.Write([]byte("0123456789abc"))
		require.NoError(t, err)
	}
	require.Less(t, len(kept.kept), 40)
	require.Equal(t, "… only the last 10 bytes …\n3456789abc", kept.text())
	kept = &tail{limit: 10}
	_, _ = kept.Write([]byte("short"))
	require.Equal(t, "short", kept.text())
}

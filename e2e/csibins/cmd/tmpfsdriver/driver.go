package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	volumesDir   = "volumes"
	snapshotsDir = "snapshots"
	// sizeFile beside a volume or a snapshot holds its bytes.
	sizeFile = ".size"
	// attributesFile beside a volume holds what it was modified to.
	attributesFile = ".attributes"
	// sourceFile beside a snapshot holds the volume that it is of.
	sourceFile = ".source"

	defaultSize = 64 << 20 // bytes, of a volume whose size nobody says
	capacity    = 1 << 40  // bytes: a tmpfs takes what is written, not its size
)

// driver is all three services. Everything that it knows is on disk.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer

	name, node, data string
	mu               sync.Mutex // one operation at a time
}

func (d *driver) path(parts ...string) string {
	return filepath.Join(append([]string{d.data}, parts...)...)
}

// idOf is a volume's or snapshot's, the same whenever it is asked for again.
func idOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

func (d *driver) volume(id string) string   { return d.path(volumesDir, id) }
func (d *driver) snapshot(id string) string { return d.path(snapshotsDir, id) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readSize(path string) (int64, error) {
	text, err := os.ReadFile(path + sizeFile)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

func writeSize(path string, size int64) error {
	return os.WriteFile(path+sizeFile, []byte(strconv.FormatInt(size, 10)), 0o600)
}

// mountVolume makes a volume, or another size of it.
func mountVolume(path string, size int64, flags uintptr) error {
	if err := unix.Mount("tmpfs", path, "tmpfs", flags, "mode=0777,size="+strconv.FormatInt(size, 10)); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return writeSize(path, size)
}

func unmount(path string) error {
	err := unix.Unmount(path, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
		return nil // not mounted
	}
	return err
}

// copyFiles keeps owners, modes and times.
func copyFiles(from, to string) error {
	output, err := exec.Command("/bin/cp", "-a", from+"/.", to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, output)
	}
	return nil
}

// failed is an error as CSI has them.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return status.Error(codes.NotFound, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

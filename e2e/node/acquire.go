package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"nestling.dev/nestling/e2e/image"
)

// KeptNode is the environment variable with the directory of a host that runs
// already (see cmd/realnode); tests use that one, and leave it running.
const KeptNode = "NESTLING_E2E_NODE"

// Acquire is how a TestMain gets a host: the kept one if there is one, else a new one
// in <root>/.cache/<name>, with its programs built. Release takes down what was
// brought up. Images are imported in both cases.
func Acquire(ctx context.Context, root, name string, options Options) (host *Host, release func(context.Context) error, err error) {
	if kept := os.Getenv(KeptNode); kept != "" {
		return acquireKept(ctx, kept, options.Images)
	}
	// Before minutes of building.
	if err := Requirements(); err != nil {
		return nil, nil, err
	}
	if options.Programs == "" {
		if options.Programs, err = Build(ctx, root); err != nil {
			return nil, nil, err
		}
	}
	options.Dir = filepath.Join(root, ".cache", name)
	// Held until release or the end of the process: Up would take down the host of
	// another test run.
	unlock, err := tryLock(filepath.Join(options.Dir, "lock"))
	if err != nil {
		return nil, nil, err
	}
	if host, err = Up(ctx, options); err != nil {
		unlock()
		return nil, nil, err
	}
	return host, func(ctx context.Context) error {
		defer unlock()
		return host.Down(ctx)
	}, nil
}

func acquireKept(ctx context.Context, dir string, images []image.Image) (*Host, func(context.Context) error, error) {
	host, err := Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", KeptNode, err)
	}
	for _, img := range images {
		if err := host.ImportImage(ctx, img); err != nil {
			return nil, nil, err
		}
	}
	return host, func(context.Context) error { return nil }, nil
}

func tryLock(name string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("node: another test run uses %s", filepath.Dir(name))
		}
		return nil, fmt.Errorf("node: lock %s: %w", name, err)
	}
	return func() { _ = file.Close() }, nil
}

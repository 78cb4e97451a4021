package node

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"nestling.dev/nestling/e2e/image"
)

// Options say what to bring up.
type Options struct {
	// Dir is where everything lives: configuration, data, logs. It must not be under
	// /var/lib, /var/log or /run, which each node has to itself.
	Dir string
	// Name is the prefix of node names and the name of the interface by which the
	// machine reaches them. At most 10 characters; "nest" when empty.
	Name string
	// Nodes is how many nodes; 1 when zero.
	Nodes int
	// Programs is the directory with hostkube, kubectl, agnhost and pause (see Build).
	Programs string
	// Images are imported on every node besides the standard ones (see StandardImages).
	Images []image.Image
}

// maxNodes is what the /24 between the nodes and one byte of pod network carry with ease.
const maxNodes = 16

var namePattern = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,8}[a-z0-9])?$`)

// complete fills in defaults and refuses what cannot work.
func (o Options) complete() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("node: a directory is needed")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, fmt.Errorf("node: directory %q: %w", o.Dir, err)
	}
	o.Dir = dir
	for _, taken := range []string{"/var/lib", "/var/log", "/run", "/var/run"} {
		if dir == taken || strings.HasPrefix(dir, taken+"/") {
			return o, fmt.Errorf("node: directory %s: must not be under %s, which every node has to itself", dir, taken)
		}
	}
	if strings.ContainsAny(dir, " \t\n'\"\\,:") {
		return o, fmt.Errorf("node: directory %q: must not contain blanks, quotes, commas or colons", dir)
	}
	if o.Name == "" {
		o.Name = "nest"
	}
	if !namePattern.MatchString(o.Name) {
		return o, fmt.Errorf("node: name %q: want at most 10 small letters, digits and dashes, starting with a letter", o.Name)
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return o, fmt.Errorf("node: %d nodes: want 1 to %d", o.Nodes, maxNodes)
	}
	if o.Programs != "" {
		if o.Programs, err = filepath.Abs(o.Programs); err != nil {
			return o, fmt.Errorf("node: programs %q: %w", o.Programs, err)
		}
	}
	return o, nil
}

// NameFor is a name for a host that the checkout in root runs: prefix, of at most 3
// letters, and a hash of root, so that two checkouts on one machine do not meet.
func NameFor(prefix, root string) string {
	sum := sha256.Sum256([]byte(root))
	return prefix + "-" + hex.EncodeToString(sum[:3])
}

// cgroupName ties a cgroup to a directory: what runs in it was started for that
// directory, whatever became of the files there.
func cgroupName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "nestling-e2e-" + hex.EncodeToString(sum[:4])
}

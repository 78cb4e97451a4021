package command

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/pkg/config"
)

// maxNodes is what a laptop's worth of simulated nodes is at most.
const maxNodes = 1000

// settings are the flags of `up`, which the keeper hands on to its worker.
type settings struct {
	tenant         string
	nodes          int
	kubeconfig     string
	hostKubeconfig string // empty: not written
	logDir         string // empty: with the rest, and gone with it
}

func (s *settings) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.tenant, "tenant", "sandbox", "name of the tenant")
	flags.IntVar(&s.nodes, "nodes", 3, "number of simulated nodes")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "sandbox.kubeconfig", "where to write the tenant's kubeconfig; removed at the end")
	flags.StringVar(&s.hostKubeconfig, "host-kubeconfig", "", "where to write the host's kubeconfig, if anywhere; removed at the end")
	flags.StringVar(&s.logDir, "log-dir", "", "where to leave the logs, if anywhere")
}

// args are the flags that say the same.
func (s *settings) args() []string {
	return []string{
		"--tenant=" + s.tenant,
		"--nodes=" + strconv.Itoa(s.nodes),
		"--kubeconfig=" + s.kubeconfig,
		"--host-kubeconfig=" + s.hostKubeconfig,
		"--log-dir=" + s.logDir,
	}
}

// check finds what cannot work before anything is started, and makes paths absolute.
func (s *settings) check() error {
	if detail := config.ValidateTenant(s.tenant); detail != "" {
		return usagef("--tenant: %s", detail)
	}
	if s.nodes < 1 || s.nodes > maxNodes {
		return usagef("--nodes: %d is not between 1 and %d", s.nodes, maxNodes)
	}
	for flag, path := range map[string]*string{"--kubeconfig": &s.kubeconfig, "--host-kubeconfig": &s.hostKubeconfig} {
		if *path == "" && flag == "--host-kubeconfig" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil || *path == "" {
			return usagef("%s: %q is not a path", flag, *path)
		}
		if err := checkKubeconfig(absolute); err != nil {
			return usagef("%s: %w", flag, err)
		}
		*path = absolute
	}
	if s.kubeconfig == s.hostKubeconfig {
		return usagef("--host-kubeconfig: %s is the tenant's already", s.kubeconfig)
	}
	if s.logDir != "" {
		absolute, err := filepath.Abs(s.logDir)
		if err != nil {
			return usagef("--log-dir: %w", err)
		}
		if err := os.MkdirAll(absolute, 0o755); err != nil {
			return usagef("--log-dir: %w", err)
		}
		s.logDir = absolute
	}
	return nil
}

// ours is the first line of the kubeconfigs that a sandbox writes. A file
// without it is somebody's, and left alone.
const ours = "# Written by nestling-sandbox; gone when it ends.\n"

// checkKubeconfig says why the file could not be written, without changing it.
func checkKubeconfig(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return checkWritable(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return nil
	}
	if !bytes.HasPrefix(text, []byte(ours)) {
		return errors.New(path + " exists and is not a sandbox's: choose another file")
	}
	if answers(text) {
		return errors.New(path + " is that of a sandbox that runs: choose another file")
	}
	return nil
}

// checkWritable tries whether a file can be made in the directory.
func checkWritable(dir string) error {
	probe, err := os.CreateTemp(dir, ".nestling-sandbox-*")
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			return &fs.PathError{Op: "write to", Path: dir, Err: path.Err}
		}
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// answers says whether somebody listens at the server of a kubeconfig.
func answers(kubeconfig []byte) bool {
	client, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return false
	}
	_, address, _ := bytes.Cut([]byte(client.Host), []byte("://"))
	conn, err := net.DialTimeout("tcp", string(address), time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

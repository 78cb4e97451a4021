package embeddedetcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-semver/semver"
	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/storage/schema"
)

// openTimeout is for the database's lock, which nobody should hold: our own
// lock was taken before.
const openTimeout = 5 * time.Second

// checkVersion refuses data that a newer minor of etcd has written: etcd would
// panic on it, or worse, not notice. It opens the database read-only.
func checkVersion(dir string) error {
	path := filepath.Join(dir, "member", "snap", "db")
	switch _, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read database: %w", err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: openTimeout})
	switch {
	case errors.Is(err, bolt.ErrTimeout):
		return fmt.Errorf("database %s is in use by another process", path)
	case err != nil:
		return fmt.Errorf("read database %s: %w", path, err)
	}
	defer func() { _ = db.Close() }()

	return db.View(func(tx *bolt.Tx) error {
		for _, place := range []struct{ bucket, key []byte }{
			{schema.Cluster.Name(), schema.ClusterClusterVersionKeyName},
			{schema.Meta.Name(), schema.MetaStorageVersionName},
		} {
			bucket := tx.Bucket(place.bucket)
			if bucket == nil {
				continue // the member was killed before its first commit
			}
			written, err := semver.NewVersion(string(bucket.Get(place.key)))
			if err != nil {
				continue // not decided yet
			}
			if newer(*written) {
				return fmt.Errorf("data directory %s was written by etcd %d.%d; this is etcd %s and cannot read it",
					dir, written.Major, written.Minor, version.Version)
			}
		}
		return nil
	})
}

// newer compares major and minor: patches read each other's data.
func newer(written semver.Version) bool {
	own := semver.New(version.Version)
	written.Patch, written.PreRelease, written.Metadata = 0, "", ""
	return semver.New(fmt.Sprintf("%d.%d.0", own.Major, own.Minor)).LessThan(written)
}

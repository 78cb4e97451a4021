package embeddedetcd_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
)

// victimEnv makes the test binary a process that writes until it is killed.
const victimEnv = "EMBEDDED_ETCD_VICTIM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim prints the number of every write after it was acknowledged.
func victim(dir string) error {
	member := embeddedetcd.New(embeddedetcd.Options{DataDir: dir})
	return member.Run(context.Background(), func() {
		go func() {
			client, err := clientv3.New(clientv3.Config{Endpoints: []string{member.Endpoint()}})
			for i := 0; err == nil; i++ {
				_, err = client.Put(context.Background(), fmt.Sprint(i), "acknowledged")
				fmt.Println(i)
			}
		}()
	})
}

// TestAcknowledgedWritesSurviveAKill proves recovery from the death of the
// process. That the data is on disk, and not only with the kernel, rests on
// etcd's fsync, which only UnsafeNoFsync turns off.
func TestAcknowledgedWritesSurviveAKill(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	acknowledged := 0
	for _, writes := range []int{1, 50, 200} { // killed early, and again on top of the recovered data
		self, err := os.Executable()
		require.NoError(t, err)
		child := exec.CommandContext(t.Context(), self)
		child.Env = append(os.Environ(), victimEnv+"="+dir)
		child.Stderr = os.Stderr
		output, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())

		lines := bufio.NewScanner(output)
		for n := 0; n < writes && lines.Scan(); n++ {
			acknowledged = max(acknowledged, n)
		}
		require.NoError(t, child.Process.Kill())
		_ = child.Wait()
	}
	require.Equal(t, 199, acknowledged, "the victim wrote")

	member, stop := run(t, embeddedetcd.Options{DataDir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found, err := connect(t, member).Get(ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	keys := map[string]bool{}
	for _, kv := range found.Kvs {
		keys[string(kv.Key)] = true
	}
	for i := range acknowledged + 1 {
		require.True(t, keys[fmt.Sprint(i)], "write %d was acknowledged and is lost", i)
	}
	require.NoError(t, stop())
}

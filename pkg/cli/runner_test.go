package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/fleet"
)

// fakeTenants is a fleet with one tenant, or none.
type fakeTenants struct {
	run               string // of the tenant that is there
	exists            bool
	takenOver         bool // by another run, while the command runs
	create, deleteErr error
	calls             []string
	created           fleet.CreateOptions
}

// harmless is a kubeconfig of a tenant whose address nobody answers at.
const harmless = `apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: YQ==}}]
contexts: [{name: a, context: {cluster: a, user: u}}]
users: [{name: u, user: {token: t}}]
current-context: a
`

func (f *fakeTenants) Run(context.Context, string, string) (string, bool, error) {
	return f.run, f.exists, nil
}

func (f *fakeTenants) Create(_ context.Context, o fleet.CreateOptions) (*fleet.Created, error) {
	f.calls, f.created = append(f.calls, "create"), o
	f.run, f.exists = o.Deploy.Run, true
	if f.takenOver {
		f.run = "another"
	}
	return &fleet.Created{Kubeconfig: []byte(harmless), ExpiresAt: time.Unix(0, 0)}, f.create
}

func (f *fakeTenants) Await(context.Context, fleet.AwaitOptions) ([]byte, error) {
	f.calls = append(f.calls, "await")
	return []byte(harmless), nil
}

func (f *fakeTenants) Delete(ctx context.Context, _ fleet.DeleteOptions) (*fleet.Deleted, error) {
	f.calls = append(f.calls, "delete")
	return nil, errors.Join(f.deleteErr, ctx.Err())
}

func (f *fakeTenants) AwaitGone(context.Context, string, string, func(fleet.Step)) error {
	f.calls = append(f.calls, "gone")
	return nil
}

func TestWhoseTenantARunDeletes(t *testing.T) {
	for name, test := range map[string]struct {
		fake   fakeTenants
		change func(*runner)
		calls  []string
		code   int
		said   string
		ran    bool
	}{
		"its own": {calls: []string{"create", "delete", "gone"}, code: 3, ran: true, said: "removes itself at"},
		"that of an earlier run": {fake: fakeTenants{run: "earlier", exists: true},
			calls: []string{"create", "delete", "gone"}, code: 3, ran: true},
		"not one that was made in another way": {fake: fakeTenants{exists: true},
			calls: []string{"await"}, code: 3, ran: true, said: "was not made by nestling run: it is used as it is, and stays"},
		"that as well, if told": {fake: fakeTenants{exists: true}, change: func(r *runner) { r.deleteAny = true },
			calls: []string{"await", "delete", "gone"}, code: 3, ran: true, said: "and deleted at the end"},
		"not one that is to be kept": {change: func(r *runner) { r.keep = true },
			calls: []string{"create"}, code: 3, ran: true, said: "is kept until then"},
		"not one that another run has taken over": {fake: fakeTenants{takenOver: true},
			calls: []string{"create"}, code: 3, ran: true, said: "is another run's by now"},
		"without waiting, if told": {change: func(r *runner) { r.wait = false },
			calls: []string{"create", "delete"}, code: 3, ran: true},
		"one that is half made": {fake: fakeTenants{create: errors.New("no luck")},
			calls: []string{"create", "delete", "gone"}, code: exitFailure},
		"and the command's code counts where that fails": {fake: fakeTenants{deleteErr: errors.New("no luck")},
			calls: []string{"create", "delete"}, code: 3, ran: true, said: "is not deleted, and removes itself when its time is over: no luck"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			marker := filepath.Join(t.TempDir(), "ran")
			var said bytes.Buffer
			r := &runner{ways: &wayFlags{}, ttl: time.Hour, wait: true, tenants: &test.fake, out: &said,
				config: &rest.Config{Host: "https://127.0.0.1:1"}, argv: []string{"sh", "-c", "test -s $KUBECONFIG && touch " + marker + "; exit 3"}}
			r.options.Tenant, r.options.Namespace, r.options.Run = "a", "ci", "mine"
			if test.change != nil {
				test.change(r)
			}
			command := &cobra.Command{}
			command.SetContext(t.Context())
			command.SetIn(&bytes.Buffer{})
			command.SetOut(io.Discard)
			command.SetErr(&said)
			err := r.run(command)
			var exit *exitError
			if errors.As(err, &exit) {
				require.Equal(t, test.code, exit.code)
			} else {
				require.Error(t, err)
				require.Equal(t, exitFailure, test.code)
			}
			require.Equal(t, test.calls, test.fake.calls, said.String())
			require.Contains(t, said.String(), test.said)
			_, err = os.Stat(marker)
			require.Equal(t, test.ran, err == nil)
			left, err := os.ReadDir(os.Getenv("TMPDIR"))
			require.NoError(t, err)
			require.Empty(t, left, "no kubeconfig is left behind")
		})
	}
}

// A signal before the command begins ends the run, and takes the tenant along.
func TestInterruptedBeforeTheCommand(t *testing.T) {
	fake := &fakeTenants{create: context.Canceled}
	r := &runner{ways: &wayFlags{}, wait: true, tenants: fake, out: io.Discard, argv: []string{"false"}}
	r.options.Tenant, r.options.Namespace, r.options.Run = "a", "ci", "mine"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	command := &cobra.Command{}
	command.SetContext(ctx)
	require.EqualError(t, r.run(command), "interrupted before the command began")
	require.Equal(t, []string{"create", "delete"}, fake.calls, "the deletion is not interrupted, and not waited for")
}

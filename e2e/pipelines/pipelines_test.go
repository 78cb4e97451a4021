package pipelines

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// fake is a nestling that writes down its arguments, one a line, and runs the command after --.
const fake = `#!/bin/sh
for a in "$@"; do printf '%s\n' "[$a]"; done >> "$RECORD"
[ "$1" = run ] || exit 0
while [ "$1" != -- ]; do shift; done
shift
KUBECONFIG=the-tenants exec "$@"
`

// install puts the fake into a PATH, and returns the environment and the record.
func install(t *testing.T) (env []string, record string) {
	t.Helper()
	dir := t.TempDir()
	record = filepath.Join(dir, "record")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nestling"), []byte(fake), 0o700))
	return []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "RECORD=" + record, "KUBECONFIG=the-hosts"}, record
}

func runOf(t *testing.T, command *exec.Cmd) (code int, out string) {
	t.Helper()
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	err := command.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		require.NoError(t, err)
	}
	return command.ProcessState.ExitCode(), said.String()
}

func recorded(t *testing.T, record string) []string {
	t.Helper()
	text, err := os.ReadFile(record)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestTemplatesAreShort(t *testing.T) {
	t.Parallel()
	for _, file := range []string{ActionFile, GitLabFile} {
		text, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		require.LessOrEqual(t, bytes.Count(text, []byte("\n")), 60, file)
	}
}

func TestAction(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		inputs map[string]string
		code   int
		out    string
		want   []string // REPORT stands for the directory
	}{
		"what must be given": {
			map[string]string{"name": "pr-1", "run": "echo $KUBECONFIG"}, 0, "the-tenants\n",
			[]string{"[run]", "[pr-1]", "[--ttl=1h]", "[--collect=REPORT]", "[--]", "[bash]", "[-eo]", "[pipefail]", "[-c]", "[echo $KUBECONFIG]"},
		},
		"all": {
			map[string]string{"name": "pr-1", "run": "exit 3", "namespace": "ci", "host-kubeconfig": "/a b", "ttl": "10m", "flags": "\n--ephemeral\n--image=x y\n"}, 3, "",
			[]string{"[run]", "[pr-1]", "[--ttl=10m]", "[--collect=REPORT]", "[--ephemeral]", "[--image=x y]", "[--namespace=ci]", "[--host-kubeconfig=/a b]", "[--]", "[bash]", "[-eo]", "[pipefail]", "[-c]", "[exit 3]"},
		},
		"inputs that would be programs": {
			map[string]string{"name": "$(touch PWNED)", "run": "true", "namespace": "`touch PWNED`", "ttl": "1h; touch PWNED", "flags": "--image=$(touch PWNED)"}, 0, "",
			[]string{"[run]", "[$(touch PWNED)]", "[--ttl=1h; touch PWNED]", "[--collect=REPORT]", "[--image=$(touch PWNED)]", "[--namespace=`touch PWNED`]", "[--]", "[bash]", "[-eo]", "[pipefail]", "[-c]", "[true]"},
		},
		"a script of which a part fails": {map[string]string{"name": "a", "run": "false | true\necho not reached"}, 1, "", nil},
		"a program that is not there":    {map[string]string{"name": "a", "run": "true", "binary": "/no/nestling"}, 127, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			action, err := ReadAction(filepath.Join(root, ActionFile))
			require.NoError(t, err)
			env, record := install(t)
			temp := t.TempDir()
			command, err := action.Command(t.Context(), temp, test.inputs, env)
			require.NoError(t, err)
			command.Dir = temp
			code, out := runOf(t, command)
			require.Equal(t, test.code, code, out)
			if test.code != 127 {
				require.Equal(t, test.out, out)
			}
			outputs, err := Outputs(temp)
			require.NoError(t, err)
			require.DirExists(t, outputs["report"])
			if test.want != nil {
				got := strings.ReplaceAll(strings.Join(recorded(t, record), "\n"), outputs["report"], "REPORT")
				require.Equal(t, strings.Join(test.want, "\n"), got)
			}
			require.NoFileExists(t, filepath.Join(temp, "PWNED"))
		})
	}
}

func TestActionTakesTheProgramOutOfAnImage(t *testing.T) {
	t.Parallel()
	action, err := ReadAction(filepath.Join(root, ActionFile))
	require.NoError(t, err)
	env, record := install(t)
	bin := filepath.Dir(record)
	require.NoError(t, os.Rename(filepath.Join(bin, "nestling"), filepath.Join(bin, "in-image")))
	docker := "#!/bin/sh\necho \"[docker $*]\" >> \"$RECORD\"\ncase $1 in create) echo c0ffee;; cp) cp " + bin + "/in-image \"$3\";; esac\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o700))
	temp := t.TempDir()
	command, err := action.Command(t.Context(), temp, map[string]string{"name": "a", "run": "true", "binary-image": "registry.example/nestling:1"}, env)
	require.NoError(t, err)
	code, out := runOf(t, command)
	require.Zero(t, code, out)
	got := recorded(t, record)
	require.Equal(t, []string{"[docker create -- registry.example/nestling:1]", "[docker cp c0ffee:/nestling " + temp + "/nestling]", "[docker rm c0ffee]", "[run]"}, got[:4])
}

func TestGitLab(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given       map[string]string
		code        int
		out         string
		want, after []string
	}{
		"what must be given": {
			map[string]string{"NESTLING_SCRIPT": "echo $KUBECONFIG; cat"}, 0, "the-tenants\n",
			[]string{"[run]", "[ci-17]", "[--ttl=1h]", "[--collect=nestling-report]", "[--ephemeral]", "[--]", "[sh]", "[-ec]", "[echo $KUBECONFIG; cat]"},
			[]string{"[delete]", "[ci-17]", "[--ignore-not-found]", "[--wait=false]"},
		},
		"all": {
			map[string]string{"NESTLING_SCRIPT": "exit 3", "NESTLING_NAME": "mr-$CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_IID": "4", "NESTLING_NAMESPACE": "ci", "NESTLING_TTL": "10m", "NESTLING_FLAGS": "--namespaced --image=x*"}, 3, "",
			[]string{"[run]", "[mr-4]", "[--ttl=10m]", "[--collect=nestling-report]", "[--namespaced]", "[--image=x*]", "[--namespace=ci]", "[--]", "[sh]", "[-ec]", "[exit 3]"},
			[]string{"[delete]", "[mr-4]", "[--ignore-not-found]", "[--wait=false]", "[--namespace=ci]"},
		},
		"variables that would be programs": {
			map[string]string{"NESTLING_SCRIPT": "true", "NESTLING_NAME": "`touch PWNED`", "NESTLING_NAMESPACE": "; touch PWNED", "NESTLING_FLAGS": "`touch PWNED`"}, 0, "",
			[]string{"[run]", "[`touch PWNED`]", "[--ttl=1h]", "[--collect=nestling-report]", "[`touch]", "[PWNED`]", "[--namespace=; touch PWNED]", "[--]", "[sh]", "[-ec]", "[true]"},
			[]string{"[delete]", "[`touch PWNED`]", "[--ignore-not-found]", "[--wait=false]", "[--namespace=; touch PWNED]"},
		},
		"no script": {nil, 2, "NESTLING_SCRIPT is empty: set it to what the job is to run\n", nil, []string{"[delete]", "[ci-17]", "[--ignore-not-found]", "[--wait=false]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, err := ReadJob(filepath.Join(root, GitLabFile))
			require.NoError(t, err)
			env, record := install(t)
			dir := t.TempDir()
			given := map[string]Variable{"CI_JOB_ID": {Value: "17"}}
			for key, value := range test.given {
				given[key] = Variable{Value: value}
				if key == "NESTLING_SCRIPT" {
					given[key] = Verbatim(value)
				}
			}
			script, after := job.Commands(t.Context(), dir, given, env)
			code, out := runOf(t, script)
			require.Equal(t, test.code, code, out)
			require.Equal(t, test.out, out)
			require.Equal(t, test.want, recorded(t, record))
			_ = os.Remove(record)
			code, out = runOf(t, after)
			require.Zero(t, code, out)
			require.Equal(t, test.after, recorded(t, record))
			require.NoFileExists(t, filepath.Join(dir, "PWNED"))
		})
	}
}

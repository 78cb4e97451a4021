package stories

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kubectlCommand is kubectl as the tenant's user runs it, in one namespace.
func kubectlCommand(ctx context.Context, w *World, tenant *Tenant, namespace string, args ...string) *exec.Cmd {
	args = append([]string{"--kubeconfig", tenant.Kubeconfig, "--namespace", namespace}, args...)
	return exec.CommandContext(ctx, w.Kubectl, args...)
}

// kubectl runs a command of kubectl's and wants it to succeed; it returns both outputs.
func kubectl(t *testing.T, w *World, tenant *Tenant, namespace string, args ...string) string {
	t.Helper()
	return kubectlInput(t, w, tenant, namespace, "", args...)
}

// eventuallyKubectl waits until a command of kubectl's prints what a regular expression matches.
func eventuallyKubectl(t *testing.T, w *World, tenant *Tenant, namespace, want string, args ...string) {
	t.Helper()
	pattern := regexp.MustCompile(want)
	eventually(t, "kubectl "+strings.Join(args, " ")+" to print "+want, func(ctx context.Context) (bool, string) {
		out, err := kubectlCommand(ctx, w, tenant, namespace, args...).CombinedOutput()
		return err == nil && pattern.Match(out), string(out) + errText(err)
	})
}

func kubectlInput(t *testing.T, w *World, tenant *Tenant, namespace, input string, args ...string) string {
	t.Helper()
	if w.Kubectl == "" {
		t.Skip("this world has no kubectl")
	}
	command := kubectlCommand(t.Context(), w, tenant, namespace, args...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), out)
	return string(out)
}

package controlplane

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestControllerManagerAgent(t *testing.T) {
	t.Parallel()
	const own = "nestling/v1.36.3 (linux/amd64) kubernetes/0123456"
	const theirs = "kube-controller-manager/v1.36.3 (linux/amd64) kubernetes/0123456"
	rename := controllerManagerAgent(own)
	for agent, want := range map[string]string{
		own + "/kube-controller-manager":                                 theirs + "/kube-controller-manager",
		own + "/system:serviceaccount:kube-system:deployment-controller": theirs + "/system:serviceaccount:kube-system:deployment-controller",
		own:                                    own,
		own + "/syncer":                        own + "/syncer",
		own + "/system:serviceaccount:other:x": own + "/system:serviceaccount:other:x",
		"kubectl/v1.36.3":                      "kubectl/v1.36.3",
		"":                                     "",
	} {
		require.Equal(t, want, rename(agent))
	}
}

package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestBadRulesOfPodsNameTheField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"a misspelt field of a pod": {`pods: {deny: [{name: a, expression: "false"}, {name: b, expression: pod.spec.hostNet}]}`,
			`pods.deny[1].expression: line 1, column 9: undefined field 'hostNet'`},
		"a misspelt field of a rule": {`pods: {deny: [{name: a, expresion: "false"}]}`, `pods.deny[0].expresion: unknown field`},
		"an expression that is none": {`pods: {deny: [{name: a, expression: true}]}`, `pods.deny.expression: want a string, found bool`},
		"a node without a label":     {`pods: {force: {nodeSelector: {"a b": c}}}`, `pods.force.nodeSelector: "a b": "c" is not a label`},
		"a toleration of nothing":    {`pods: {force: {tolerations: [{key: a, operator: Exists}, {effect: NoSchedule}]}}`, `pods.force.tolerations[1]: operator: must be Exists when there is no key`},
		"an effect that there is not": {`pods: {force: {tolerations: [{key: a, effect: Never}]}}`,
			`pods.force.tolerations[0]: effect: "Never" is not one of NoSchedule, PreferNoSchedule, NoExecute`},
		"a class in capitals": {`pods: {force: {runtimeClass: Kata}}`, `pods.force.runtimeClass: "Kata" is not the name of a class`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := complete(t, test.file+"\n")
			require.EqualError(t, err, "config: "+test.want)
		})
	}
}

func TestRulesOfPodsByFlag(t *testing.T) {
	t.Parallel()
	rules, tolerations := filepath.Join(t.TempDir(), "rules.yaml"), filepath.Join(t.TempDir(), "tolerations.yaml")
	require.NoError(t, os.WriteFile(rules, []byte("- {name: none, expression: 'true'}\n"), 0o600))
	require.NoError(t, os.WriteFile(tolerations, []byte("- {key: tenants, operator: Exists}\n"), 0o600))
	completed, err := complete(t, "", "--pods-deny="+rules, "--pods-force-tolerations="+tolerations, "--pods-force-node-selector=pool=tenants,disk=ssd")
	require.NoError(t, err)
	require.NotNil(t, completed.PodRules().Refuse(&corev1.Pod{}))
	require.Equal(t, []corev1.Toleration{{Key: "tenants", Operator: corev1.TolerationOpExists}}, completed.Pods.Force.Tolerations)
	require.Equal(t, map[string]string{"pool": "tenants", "disk": "ssd"}, completed.Pods.Force.NodeSelector)
}

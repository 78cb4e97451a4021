package deploy

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/pkg/config"
)

func TestSecretsOfTheConfigurationAreMountedAndNotWrittenDown(t *testing.T) {
	t.Parallel()
	o := example()
	require.Len(t, podSpec(o).Volumes, 1, "the configuration, and no Secret that nobody asked for")

	o.Config.APIServer.Encryption.Secret = "team-a-encryption"
	o.Config.APIServer.Audit.Policy = config.Document{
		"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": []any{map[string]any{"level": "Metadata"}},
	}
	o.Config.APIServer.Audit.Webhook.Secret = "siem"
	require.NoError(t, o.Validate())
	spec := podSpec(o)
	secrets := map[string]string{}
	for _, volume := range spec.Volumes {
		if volume.Secret != nil {
			secrets[volume.Name] = volume.Secret.SecretName
		}
	}
	require.Equal(t, map[string]string{"encryption": "team-a-encryption", "audit-webhook": "siem"}, secrets)
	require.Subset(t, spec.Containers[0].VolumeMounts, []corev1.VolumeMount{
		{Name: "encryption", MountPath: "/etc/nestling-secrets/encryption", ReadOnly: true},
		{Name: "audit-webhook", MountPath: "/etc/nestling-secrets/audit-webhook", ReadOnly: true},
	})
	require.Equal(t, "/etc/nestling-secrets/encryption/encryption.yaml", o.Config.EncryptionFile(), "where the process looks")
	require.Equal(t, "/etc/nestling-secrets/audit-webhook/kubeconfig", o.Config.AuditWebhookFile())
}

// What the process would refuse at its start is refused before it is written down.
func TestAConfigurationThatTheProcessWouldRefuseIsNotRendered(t *testing.T) {
	t.Parallel()
	o := example()
	o.Config.APIServer.Audit.Policy = config.Document{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": []any{map[string]any{"level": "Some"}}}
	_, err := YAML(o)
	require.EqualError(t, err, `config: apiServer.audit.policy.rules[0].level: Unsupported value: "Some": supported values: "None", "Metadata", "Request", "RequestResponse"`)
}

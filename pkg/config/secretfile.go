package config

import (
	"fmt"
	"path"

	"k8s.io/apimachinery/pkg/util/validation"
)

// SecretFile is a file that nobody may read who may read the configuration.
type SecretFile struct {
	// Secret is the name of a Secret in the host namespace, which the tenant's manifests mount into its pod.
	Secret string `json:"secret,omitempty"`
	// File is a path, for a process that runs in no pod.
	File string `json:"file,omitempty"`
}

// SecretsDir is where the tenant's pod has the Secrets, each in a directory of its own.
const SecretsDir = "/etc/nestling-secrets"

// SecretMount is one Secret in the tenant's pod.
type SecretMount struct {
	// Name of the directory and the volume.
	Name string
	// Secret and its Key, which is the name of the file.
	Secret, Key string
}

// Dir is where the Secret is mounted.
func (m SecretMount) Dir() string { return path.Join(SecretsDir, m.Name) }

const (
	// EncryptionKey is the key of an EncryptionConfiguration in its Secret.
	EncryptionKey = "encryption.yaml"
	// AuditWebhookKey is the key of the kubeconfig of the audit webhook in its Secret.
	AuditWebhookKey = "kubeconfig"

	auditWebhookMount = "audit-webhook"
	encryptionMount   = "encryption"
)

// SecretMounts are the Secrets that the configuration asks for.
func (c *Config) SecretMounts() []SecretMount {
	var out []SecretMount
	for _, mount := range []SecretMount{
		{auditWebhookMount, c.APIServer.Audit.Webhook.Secret, AuditWebhookKey},
		{encryptionMount, c.APIServer.Encryption.Secret, EncryptionKey},
	} {
		if mount.Secret != "" {
			out = append(out, mount)
		}
	}
	return out
}

// AuditWebhookFile is the path of the webhook's kubeconfig; empty: there is none.
func (c *Config) AuditWebhookFile() string {
	return c.APIServer.Audit.Webhook.path(SecretMount{Name: auditWebhookMount, Key: AuditWebhookKey})
}

// EncryptionFile is the path of the EncryptionConfiguration; empty: there is none.
func (c *Config) EncryptionFile() string {
	return c.APIServer.Encryption.path(SecretMount{Name: encryptionMount, Key: EncryptionKey})
}

func (f SecretFile) given() bool { return f != SecretFile{} }

func (f SecretFile) path(mount SecretMount) string {
	if f.Secret == "" {
		return f.File
	}
	return path.Join(mount.Dir(), mount.Key)
}

func (f SecretFile) problems(field string) []Problem {
	switch {
	case f.Secret != "" && f.File != "":
		return []Problem{{field, "secret and file are both set: one of them is the file"}}
	case f.Secret != "" && len(validation.IsDNS1123Subdomain(f.Secret)) > 0:
		return []Problem{{field + ".secret", fmt.Sprintf("%q is not the name of a Secret", f.Secret)}}
	case f.File != "" && absolute(f.File) != "":
		return []Problem{{field + ".file", absolute(f.File)}}
	}
	return nil
}

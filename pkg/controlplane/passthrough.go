package controlplane

// Passthrough is what upstream's own documents say about an API server. They were checked
// with the configuration: upstream's complaints about them here would come late.
type Passthrough struct {
	// Authentication is an AuthenticationConfiguration; nil: users have certificates and
	// tokens of ServiceAccounts.
	Authentication []byte
	// AuditPolicy is a Policy; nil: nothing is recorded.
	AuditPolicy []byte
	// AuditLog is a path, or "-" for standard output; empty: there is no log.
	AuditLog string
	// AuditWebhook is the path of a kubeconfig; empty: there is none.
	AuditWebhook string
	// Encryption is the path of an EncryptionConfiguration, which is read again when it
	// changes; empty: etcd has everything in plain text.
	Encryption string
}

const (
	authenticationFlag = "authentication-config"
	auditPolicyFlag    = "audit-policy-file"
)

// files are the documents that upstream wants as files, by flag.
func (p Passthrough) files() map[string][]byte {
	out := map[string][]byte{}
	if p.Authentication != nil {
		out[authenticationFlag] = p.Authentication
	}
	if p.AuditPolicy != nil {
		out[auditPolicyFlag] = p.AuditPolicy
	}
	return out
}

// flags of kube-apiserver, beside those of files.
func (p Passthrough) flags() map[string]string {
	out := map[string]string{}
	if p.AuditLog != "" {
		out["audit-log-path"] = p.AuditLog
		// The log shares its volume with etcd, which stops taking writes when that is
		// full. Upstream keeps 10 GB.
		out["audit-log-maxsize"] = "50" // MB
		out["audit-log-maxbackup"] = "4"
	}
	if p.AuditWebhook != "" {
		out["audit-webhook-config-file"] = p.AuditWebhook
	}
	if p.Encryption != "" {
		out["encryption-provider-config"] = p.Encryption
		out["encryption-provider-config-automatic-reload"] = "true"
	}
	return out
}

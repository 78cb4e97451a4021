package collect

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// lastApplied are annotations with an object's former text.
var lastApplied = map[string]bool{
	"kubectl.kubernetes.io/last-applied-configuration": true,
	"kapp.k14s.io/original":                            true,
	"banzaicloud.com/last-applied":                     true,
}

// secretWords end the names of what is secret, or are followed by a number or a suffix that says where it is kept.
const secretWords = `(?:passwords?|passwd|passphrase|pass|pwd|secrets?|tokens?|credentials?|api[-_.]?keys?|access[-_.]?keys?|secret[-_.]?keys?|private[-_.]?keys?|encryption[-_.]?keys?|signing[-_.]?keys?|client-key-data|auth|dsn|connection[-_.]?strings?|cookies?|session[-_.]?ids?|salt|jwt|bearer|webhook[-_.]?urls?)`

// encodedCertificate is the base64 of "-----BEGIN CERT": those are public.
const encodedCertificate = "LS0tLS1CRUdJTiBDRVJU"

var (
	secretName = regexp.MustCompile(`(?i)(?:^|[-_./]|[a-z0-9])` + secretWords + `(?:[-_.]?(?:value|base64|b64|text|[0-9]+))?$`)
	// innocent names look like the others, and hold what is public or a reference.
	innocent = regexp.MustCompile(`(?i)(?:public|bypass|compass|secretkeyref|oauth|configmapandsecret)`)

	jwt        = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`)
	privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`)
	encodedPEM = regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/]{16,}={0,2}`) // base64 of "-----BEGIN "
	bearer     = regexp.MustCompile(`(?i)\b((?:bearer|basic)\s+)([A-Za-z0-9+/=_.~-]{12,})`)
	userInfo   = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@"']*:)([^\s@/"']+)(@)`)
	awsKey     = regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`)
	// assignment is a line or a part of one that says NAME=VALUE or NAME: VALUE, quoted or not.
	assignment = regexp.MustCompile(`(?i)((?:^|[\s,;&?{"'-])[a-z0-9_.-]*(?:passwords?|passwd|passphrase|pwd|tokens?|api[-_]?keys?|access[-_]?keys?|secret[-_]?keys?|client[-_]?secrets?|private[-_]?keys?|client-key-data|credentials?|connection[-_]?string)["']?\s*[:=]\s*["']?)([^\s"',;&}]{3,})`)
	flagName   = regexp.MustCompile(`(?i)^--?[a-z0-9][a-z0-9-]*$`)
)

// replaced stands in the place of a value.
func replaced(value string) string { return fmt.Sprintf("<redacted: %d bytes>", len(value)) }

// isSecret says whether the name of a variable, a field or a flag says that its value is secret.
func isSecret(name string) bool {
	return secretName.MatchString(name) && !innocent.MatchString(name)
}

// redactText replaces what is secret wherever it is.
func redactText(text string) string {
	if len(text) < 8 { // none of the patterns is that short
		return text
	}
	text = privateKey.ReplaceAllStringFunc(text, replaced)
	text = encodedPEM.ReplaceAllStringFunc(text, func(match string) string {
		if strings.HasPrefix(match, encodedCertificate) {
			return match
		}
		return replaced(match)
	})
	text = jwt.ReplaceAllStringFunc(text, replaced)
	text = awsKey.ReplaceAllStringFunc(text, replaced)
	text = group(bearer, text)
	text = group(userInfo, text)
	return group(assignment, text)
}

// group replaces the second group of each match.
func group(pattern *regexp.Regexp, text string) string {
	return pattern.ReplaceAllStringFunc(text, func(match string) string {
		parts := pattern.FindStringSubmatch(match)
		if strings.HasPrefix(parts[2], "<redacted") {
			return match
		}
		return parts[1] + replaced(parts[2]) + strings.Join(parts[3:], "")
	})
}

// redactObject returns the object without what is secret, and without the record of who set which field.
func redactObject(object *unstructured.Unstructured) map[string]any {
	out := object.DeepCopy().Object
	if metadata, ok := out["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			for name, value := range annotations {
				if text, ok := value.(string); ok && lastApplied[name] {
					annotations[name] = replaced(text)
				}
			}
		}
	}
	if object.GetKind() == "Secret" && object.GroupVersionKind().Group == "" {
		for _, field := range []string{"data", "stringData"} {
			values, _ := out[field].(map[string]any)
			for key, value := range values {
				values[key] = replaced(fmt.Sprint(value))
			}
		}
	}
	return redactMap(out)
}

func redactMap(in map[string]any) map[string]any {
	// {name: DB_PASSWORD, value: …} is a variable, a header or a parameter.
	if name, ok := in["name"].(string); ok && isSecret(name) {
		if value, ok := in["value"].(string); ok && value != "" {
			in["value"] = replaced(value)
		}
	}
	for key, value := range in {
		if text, ok := value.(string); ok && text != "" && isSecret(key) && !strings.HasPrefix(text, "<redacted") {
			in[key] = replaced(text)
			continue
		}
		in[key] = redactAny(value)
	}
	return in
}

func redactAny(value any) any {
	switch value := value.(type) {
	case string:
		return redactText(value)
	case map[string]any:
		return redactMap(value)
	case []any:
		for i := range value {
			// --password VALUE, as two arguments
			if text, ok := value[i].(string); ok && i > 0 {
				if flag, ok := value[i-1].(string); ok && flagName.MatchString(flag) && isSecret(flag) {
					value[i] = replaced(text)
					continue
				}
			}
			value[i] = redactAny(value[i])
		}
	}
	return value
}

{{/* nestling.secrets are the Secrets that the settings name, which the pod mounts: what is in them must not stand in the
ConfigMap. */}}
{{- define "nestling.secrets" -}}
{{- $config := include "nestling.config" . | fromYaml -}}
{{- $out := list -}}
{{- with dig "apiServer" "audit" "webhook" "secret" "" $config -}}
{{- $out = append $out (dict "name" "audit-webhook" "secret" . "key" "kubeconfig") -}}
{{- end -}}
{{- with dig "apiServer" "encryption" "secret" "" $config -}}
{{- $out = append $out (dict "name" "encryption" "secret" . "key" "encryption.yaml") -}}
{{- end -}}
{{- toYaml $out -}}
{{- end -}}

{{- define "nestling.secrets.volumes" -}}
{{- range include "nestling.secrets" . | fromYamlArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    items:
    - {key: {{ .key }}, path: {{ .key }}}
{{- end }}
{{- end -}}

{{- define "nestling.secrets.mounts" -}}
{{- range include "nestling.secrets" . | fromYamlArray }}
- name: {{ .name }}
  mountPath: {{ printf "/etc/nestling-secrets/%s" .name }}
  readOnly: true
{{- end }}
{{- end -}}

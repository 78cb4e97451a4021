{{- define "nats.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "nats.selector" -}}
app.kubernetes.io/name: nats
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nats.labels" -}}
{{ include "nats.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The password of an installation stays what it was. */}}
{{- define "nats.password" -}}
{{- $made := lookup "v1" "Secret" .Release.Namespace (printf "%s-auth" (include "nats.name" .)) -}}
{{- if .Values.auth.password -}}
{{ .Values.auth.password }}
{{- else if $made -}}
{{ $made.data.password | b64dec }}
{{- else -}}
{{ randAlphaNum 24 }}
{{- end -}}
{{- end }}

{{/* A container that may do nothing that it does not need. */}}
{{- define "nats.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "nats.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* How a client finds the cluster. */}}
{{- define "nats.clientEnv" -}}
- {name: NATS_URL, value: "nats://{{ include "nats.name" . }}:4222"}
- name: NATS_USER
  valueFrom: {secretKeyRef: {name: {{ include "nats.name" . }}-auth, key: user}}
- name: NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "nats.name" . }}-auth, key: password}}
{{- end }}

{{/* Members by their names; the kubelet puts the password in. */}}
{{- define "nats.routes" -}}
{{- range $i := until (int .Values.replicas) -}}
{{- if $i }},{{ end -}}
nats://$(NATS_USER):$(NATS_PASSWORD)@{{ include "nats.name" $ }}-{{ $i }}.{{ include "nats.name" $ }}-headless.{{ $.Release.Namespace }}.svc:6222
{{- end -}}
{{- end }}

{{/* nestling.metadata is that of every object; its argument is the root and a name. */}}
{{- define "nestling.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- include "nestling.labels" $root | nindent 2 }}
{{- end -}}

{{- define "nestling.labels" -}}
app.kubernetes.io/name: nestling
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{ include "nestling.selector" . }}
{{- end -}}

{{- define "nestling.selector" -}}
nestling.dev/control-plane: {{ .Release.Name | quote }}
{{- end -}}

{{/* nestling.clusterRole bears the namespace too, because cluster roles of all namespaces share one name space. */}}
{{- define "nestling.clusterRole" -}}
{{- printf "nestling:%s:%s" .Release.Namespace .Release.Name -}}
{{- end -}}

{{/* nestling.config is what the settings say, without what says nothing. */}}
{{- define "nestling.config" -}}
{{- $config := deepCopy (default dict .Values.config) -}}
{{- include "nestling.sparse" (dict "in" $config "shape" (include "nestling.shape" . | fromYaml)) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* nestling.sparse takes out of a mapping what Go would not write: see nestling.shape. */}}
{{- define "nestling.sparse" -}}
{{- $in := .in -}}
{{- range $field, $shape := .shape -}}
{{- if hasKey $in $field -}}
{{- $value := index $in $field -}}
{{- if kindIs "map" $shape -}}
{{- if $value -}}{{- include "nestling.sparse" (dict "in" $value "shape" $shape) -}}{{- end -}}
{{- else if kindIs "slice" $shape -}}
{{- range $item := $value -}}{{- include "nestling.sparse" (dict "in" $item "shape" (first $shape)) -}}{{- end -}}
{{- end -}}
{{- if ternary (kindIs "invalid" $value) (not $value) (eq (toString $shape) "unlessNull") -}}
{{- $_ := unset $in $field -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* nestling.configFile is the file in the ConfigMap, without its last line break. Its hash is on the pod. */}}
{{- define "nestling.configFile" -}}
{{- $file := include "nestling.config" . | fromYaml -}}
{{- $_ := set $file "apiVersion" "nestling.dev/v1alpha1" -}}
{{- $_ := set $file "kind" "Config" -}}
{{- $_ := set $file "tenant" .Release.Name -}}
{{- if .Values.ephemeral -}}
{{- /* The data dies with the pod, so it need not outlive the node. */ -}}
{{- $_ := set $file "etcd" (merge (dict "unsafeNoFsync" true) (default dict $file.etcd)) -}}
{{- end -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- /* It names the Secret. */ -}}
{{- $_ := set $file "metrics" (merge (dict "scrapeSecret" true) (default dict $file.metrics)) -}}
{{- end -}}
{{- toYaml $file -}}
{{- end -}}

{{/* nestling.policyRules makes one rule of all resources with the same group, verbs and names, in their order. */}}
{{- define "nestling.policyRules" -}}
{{- $order := list -}}
{{- $rules := dict -}}
{{- range . -}}
{{- $key := printf "%s|%s|%s" .group (join "," .verbs) (join "," .names) -}}
{{- if hasKey $rules $key -}}
{{- $rule := get $rules $key -}}
{{- $_ := set $rule "resources" (append $rule.resources .resource) -}}
{{- else -}}
{{- $rule := dict "apiGroups" (list .group) "resources" (list .resource) "verbs" .verbs -}}
{{- if .names -}}{{- $_ := set $rule "resourceNames" .names -}}{{- end -}}
{{- $_ := set $rules $key $rule -}}
{{- $order = append $order $key -}}
{{- end -}}
{{- end -}}
{{- $out := list -}}
{{- range $order -}}{{- $out = append $out (get $rules .) -}}{{- end -}}
{{- toYaml $out -}}
{{- end -}}

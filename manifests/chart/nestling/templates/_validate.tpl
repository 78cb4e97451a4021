{{/* nestling.validate refuses what the schema of the values cannot see, in the words of `nestling manifests`. */}}
{{- define "nestling.validate" -}}
{{- $name := .Release.Name -}}
{{- if gt (len $name) 40 -}}
{{- fail (printf "NAME: %q has %d characters; at most 40 are allowed" $name (len $name)) -}}
{{- end -}}
{{- if contains "." $name -}}
{{- fail (printf "NAME: %q is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)" $name) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
{{- fail (printf "NAME: %q must start with a letter" $name) -}}
{{- end -}}
{{- with (include "nestling.config" . | fromYaml).tenant -}}
{{- if ne . $name -}}
{{- fail (printf "values: config.tenant: is %q, not %q" . $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.hostAPIServers) -}}
{{- fail "values: networkPolicy.hostAPIServers: is required: the addresses of the host's API server, as `kubectl get endpointslices -n default` says them" -}}
{{- end -}}
{{- end -}}

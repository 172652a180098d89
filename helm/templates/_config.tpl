{{/* hirewire.yaml: what the chart sets itself over `config`, written so that numbers stay whole numbers. */}}

{{/* A value as YAML. toYaml would write 16777216 as 1.6777216e+07, since Helm reads all numbers as floats. */}}
{{- define "hirewire.yaml" -}}
{{- $value := .value -}}
{{- if kindIs "map" $value -}}
{{- if not $value }}{}{{ end -}}
{{- range $key, $child := $value }}
{{- if not (kindIs "invalid" $child) }}
{{ $key }}:{{ if or (and (kindIs "map" $child) $child) (and (kindIs "slice" $child) $child) }}{{ include "hirewire.yaml" (dict "value" $child) | trim | nindent 2 }}{{ else }} {{ include "hirewire.yaml" (dict "value" $child) }}{{ end }}
{{- end }}
{{- end }}
{{- else if kindIs "slice" $value -}}
{{- if not $value }}[]{{ end -}}
{{- range $child := $value }}
- {{ include "hirewire.yaml" (dict "value" $child) | trim | indent 2 | trim }}
{{- end }}
{{- else if kindIs "bool" $value -}}
{{ $value }}
{{- else if or (kindIs "float64" $value) (kindIs "int64" $value) (kindIs "int" $value) -}}
{{ int64 $value }}
{{- else -}}
{{ quote $value }}
{{- end -}}
{{- end }}

{{/* The whole of it as a map, for templates that ask what it says. */}}
{{- define "hirewire.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $own := dict
  "data_dir" "/var/lib/hirewire"
  "admin" (dict "listen" (printf "%s:%v" .Values.listenAddress .Values.ports.admin))
  "ingest" (dict "listen" (printf "%s:%v" .Values.listenAddress .Values.ports.webhook)) -}}
{{- if eq .Values.mode "embedded" -}}
{{- $_ := set $own "embedded" (dict "broker" "127.0.0.1:9092" "registry" "127.0.0.1:8081") -}}
{{- with and .Values.tests.enabled .Values.tests.walk }}{{ $_ := set $own.embedded "walk" . }}{{ end -}}
{{- $_ := set $own "kafka" (dict "bootstrap_servers" "127.0.0.1:9092" "partitions" (dig "kafka" "partitions" 4 $config)) -}}
{{- $_ := set $own "registry" (dict "url" "http://127.0.0.1:8081") -}}
{{- else if .Values.registry.enabled -}}
{{- $_ := set $own "registry" (dict "url" (printf "http://%s-registry:%v" (include "hirewire.fullname" .) .Values.ports.registry)) -}}
{{- end -}}
{{- if .Values.strimzi.enabled -}}
{{- $ca := dig "kafka" "tls" "ca_file" (printf "/secrets/%s-cluster-ca-cert/ca.crt" .Values.strimzi.cluster) $config -}}
{{- $_ := set $own "kafka" (dict "tls" (dict "ca_file" $ca "certificate_file" "/secrets/strimzi-user/user.crt" "key_file" "/secrets/strimzi-user/user.key")) -}}
{{- end -}}
{{- toJson (mergeOverwrite $config $own) -}}
{{- end }}

{{/* Data of the ConfigMap. */}}
{{- define "hirewire.configData" -}}
{{- if not .Values.existingConfigMap }}
hirewire.yaml: |
  # Written by the chart from `config`.
  {{- include "hirewire.yaml" (dict "value" (include "hirewire.config" . | fromJson)) | trim | nindent 2 }}
{{- end }}
{{- range $name, $text := .Values.overlays }}
{{ $name }}: |
  {{- $text | trim | nindent 2 }}
{{- end }}
{{- end }}

{{/* Every text in a value, a line each. */}}
{{- define "hirewire.texts" -}}
{{- if kindIs "map" .value }}{{ range $child := .value }}{{ include "hirewire.texts" (dict "value" $child) }}{{ end }}
{{- else if kindIs "slice" .value }}{{ range $child := .value }}{{ include "hirewire.texts" (dict "value" $child) }}{{ end }}
{{- else if kindIs "string" .value }}{{ .value }}
{{ end -}}
{{- end }}

{{/* Every `{env: NAME}` in a value, a line each. */}}
{{- define "hirewire.variables" -}}
{{- if kindIs "map" .value }}
{{- if and (eq (len .value) 1) (hasKey .value "env") }}{{ .value.env }}
{{ else }}{{ range $child := .value }}{{ include "hirewire.variables" (dict "value" $child) }}{{ end }}{{ end -}}
{{- else if kindIs "slice" .value }}{{ range $child := .value }}{{ include "hirewire.variables" (dict "value" $child) }}{{ end }}
{{- end -}}
{{- end }}

{{/* What a role uses of the configuration, for which it needs secrets: docs/configuration.md says which process needs which. */}}
{{- define "hirewire.used" -}}
{{- $config := .root.Values.config -}}
{{- if has .role (list "embedded" "check") -}}
{{- toJson $config -}}
{{- else -}}
{{- $used := dict "kafka" (default (dict) $config.kafka) -}}
{{- if ne .role "topics" }}{{ $_ := set $used "registry" (default (dict) $config.registry) }}{{ end -}}
{{- if eq (include "hirewire.does" .) "route" }}{{ $_ := set $used "sinks" (include "hirewire.sinks" . | fromJson) }}{{ end -}}
{{- if eq .role "walk" }}{{ $_ := set $used "connections" (list (dig "connections" .root.Values.tests.walk "webhook" (dict) $config)) }}{{ end -}}
{{- if has .role (list "webhook" "poll") -}}
{{- $parts := list -}}
{{- range $connection := default (dict) $config.connections }}{{ $parts = append $parts (dict "part" (index $connection $.role)) }}{{ end -}}
{{- $_ := set $used "connections" $parts -}}
{{- end -}}
{{- toJson $used -}}
{{- end -}}
{{- end }}

{{/* Names of the Secrets that a role's pods get, as a JSON list: those that its part of the configuration names. Of a configuration that is not the chart's: all. */}}
{{- define "hirewire.secretFiles" -}}
{{- $names := list -}}
{{- if .root.Values.existingConfigMap -}}
{{- $names = .root.Values.secrets.files -}}
{{- else -}}
{{- $texts := include "hirewire.texts" (dict "value" (include "hirewire.used" . | fromJson)) | trim | splitList "\n" -}}
{{- range $name := .root.Values.secrets.files -}}
{{- range $texts }}{{ if hasPrefix (printf "/secrets/%s/" $name) . }}{{ $names = append $names $name }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end }}

{{/* The same of secrets as variables: entries of `secrets.env`. */}}
{{- define "hirewire.secretVariables" -}}
{{- $entries := list -}}
{{- $names := include "hirewire.variables" (dict "value" (include "hirewire.used" . | fromJson)) | trim | splitList "\n" -}}
{{- range .root.Values.secrets.env -}}
{{- if or $.root.Values.existingConfigMap (has .name $names) }}{{ $entries = append $entries . }}{{ end -}}
{{- end -}}
{{- toJson $entries -}}
{{- end }}

{{/* host:port texts with commas between them → ports as a JSON list. */}}
{{- define "hirewire.ports" -}}
{{- $ports := list -}}
{{- range $address := . | splitList "," -}}
{{- $ports = append $ports (regexFind "[0-9]+$" ($address | trim) | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}

{{/* The port of a URL. */}}
{{- define "hirewire.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- if $port }}{{ $port }}{{ else if eq $url.scheme "https" }}443{{ else if hasPrefix "postgres" $url.scheme }}5432{{ else }}80{{ end -}}
{{- end }}

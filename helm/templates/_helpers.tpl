{{/* Names, labels, and what a role is. */}}

{{- define "hirewire.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "hirewire.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Labels that never change: selectors are made of them. Of all pods, or with `role` of those of a role. */}}
{{- define "hirewire.selector" -}}
app.kubernetes.io/name: {{ include "hirewire.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "hirewire.labels" -}}
{{ include "hirewire.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: hirewire
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name, namespace, labels and annotations of an object. root, suffix; role, labels and annotations if there are any. */}}
{{- define "hirewire.metadata" -}}
name: "{{ include "hirewire.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}"
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "hirewire.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Roles that run, with commas between them. */}}
{{- define "hirewire.roles" -}}
{{- if eq .Values.mode "embedded" -}}
embedded
{{- else -}}
{{- $roles := list -}}
{{- range $role := list "webhook" "poll" "normalize" "route" "registry" -}}
{{- if (index $.Values $role).enabled }}{{ $roles = concat $roles (eq $role "route" | ternary (include "hirewire.routes" $ | splitList ",") (list $role)) }}{{ end -}}
{{- end -}}
{{- if not $roles }}{{ fail "webhook.enabled, poll.enabled, normalize.enabled, route.enabled: none is true; there is nothing to run" }}{{ end -}}
{{- join "," $roles -}}
{{- end -}}
{{- end }}

{{/* Roles that deliver, with commas between them: `route`, or `route-NAME` of each group of sinks. */}}
{{- define "hirewire.routes" -}}
{{- $roles := list -}}
{{- range $name, $_ := .Values.route.groups }}{{ $roles = append $roles (printf "route-%s" $name) }}{{ end -}}
{{- $roles | default (list "route") | join "," -}}
{{- end }}

{{/* What a role does: that of a group of sinks is `route`. */}}
{{- define "hirewire.does" -}}
{{- if hasPrefix "route-" .role }}route{{ else }}{{ .role }}{{ end -}}
{{- end }}

{{/* Where the values of a role stand, for messages. */}}
{{- define "hirewire.key" -}}
{{- if hasPrefix "route-" .role }}route.groups.{{ trimPrefix "route-" .role }}{{ else }}{{ .role }}{{ end -}}
{{- end }}

{{/* The settings of a role, those of `defaults` below them, as YAML. */}}
{{- define "hirewire.settings" -}}
{{- $does := include "hirewire.does" . -}}
{{- $settings := mergeOverwrite (deepCopy .root.Values.defaults) (omit (deepCopy (index .root.Values $does)) "groups") -}}
{{- if ne $does .role }}{{ $settings = mergeOverwrite $settings (omit (deepCopy (index .root.Values.route.groups (trimPrefix "route-" .role))) "sinks") }}{{ end -}}
{{- toYaml $settings -}}
{{- end }}

{{/* Sinks of `config` that a role delivers to, as JSON: all, or those of its group. */}}
{{- define "hirewire.sinks" -}}
{{- $sinks := default (dict) .root.Values.config.sinks -}}
{{- if hasPrefix "route-" .role -}}
{{- $names := (index .root.Values.route.groups (trimPrefix "route-" .role)).sinks -}}
{{- range $name := keys $sinks }}{{ if not (has $name $names) }}{{ $sinks = omit $sinks $name }}{{ end }}{{ end -}}
{{- end -}}
{{- toJson $sinks -}}
{{- end }}

{{/* What the binary is told in a role. */}}
{{- define "hirewire.args" -}}
{{- $file := "/etc/hirewire/hirewire.yaml" -}}
{{- if eq .role "embedded" -}}
[up, --config, {{ $file }}]
{{- else if eq .role "registry" -}}
[registry, --listen, {{ printf "%s:%v" .root.Values.listenAddress .root.Values.ports.registry | quote }}, --data, /var/lib/hirewire, --admin, {{ printf "%s:%v" .root.Values.listenAddress .root.Values.ports.admin | quote }}]
{{- else if has .role (list "webhook" "poll") -}}
[ingest, --role, {{ .role }}, --config, {{ $file }}]
{{- else if hasPrefix "route-" .role -}}
[route, --config, {{ $file }}, --sinks, {{ (index .root.Values.route.groups (trimPrefix "route-" .role)).sinks | join "," | quote }}]
{{- else -}}
[{{ .role }}, --config, {{ $file }}]
{{- end -}}
{{- end }}

{{/* Whether pods of a role are a StatefulSet: those that have a claim each. */}}
{{- define "hirewire.stateful" -}}
{{- $state := (include "hirewire.settings" . | fromYaml).state -}}
{{- if or (eq .role "embedded") (and $state (eq $state.type "persistent")) }}true{{ end -}}
{{- end }}

{{- define "hirewire.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "hirewire.serviceAccount" -}}
{{- $settings := include "hirewire.settings" . | fromYaml -}}
{{- if $settings.serviceAccount.create }}{{ include "hirewire.fullname" .root }}-{{ .role }}{{ else }}{{ $settings.serviceAccount.name | default "default" }}{{ end -}}
{{- end }}

{{/* A duration of hirewire.yaml in whole seconds, rounded up. */}}
{{- define "hirewire.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- if eq $unit "ms" }}{{ div (add $number 999) 1000 }}
{{- else if eq $unit "m" }}{{ mul $number 60 }}
{{- else if eq $unit "h" }}{{ mul $number 3600 }}
{{- else if eq $unit "d" }}{{ mul $number 86400 }}
{{- else }}{{ $number }}{{ end -}}
{{- end }}

{{/* Grace time of a stop. The process itself ends its drain after 25 s and its clients after 2 more, whatever its settings say; the rest is for the pause before. */}}
{{- define "hirewire.grace" -}}
{{- $settings := include "hirewire.settings" . | fromYaml -}}
{{- $config := .root.Values.config -}}
{{- $drain := "10s" -}}
{{- if has .role (list "webhook" "embedded") }}{{ $drain = dig "ingest" "drain_timeout" "10s" $config }}{{ end -}}
{{- if eq .role "normalize" }}{{ $drain = dig "normalize" "drain_deadline" "10s" $config }}{{ end -}}
{{- if eq (include "hirewire.does" .) "route" }}{{ $drain = dig "route" "drain" "5s" $config }}{{ end -}}
{{- $wanted := add (int $settings.preStopSeconds) (max 30 (add 10 (include "hirewire.seconds" $drain | int))) -}}
{{- $given := int $settings.terminationGracePeriodSeconds -}}
{{- if and $given (lt $given (int $wanted)) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds: %d s is less than the %d s that a drain may take (preStopSeconds, the drain setting of config, and a reserve)" (include "hirewire.key" .) $given $wanted) -}}
{{- end -}}
{{- $given | default $wanted -}}
{{- end }}

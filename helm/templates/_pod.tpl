{{/* The pod of a role. root, role; for Jobs also args, the role whose settings it has (like), whose secrets (secretsOf), its account and its ConfigMap. */}}
{{- define "hirewire.podTemplate" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $settings := include "hirewire.settings" (dict "root" $root "role" (default $role .like)) | fromYaml -}}
{{- $configured := ne $role "registry" -}}
{{- $job := hasKey . "args" -}}
{{- $state := $settings.state -}}
{{- $strimzi := and $configured $root.Values.strimzi.enabled -}}
{{- $strimziCa := "" -}}
{{- if not (dig "kafka" "tls" "ca_file" "" $root.Values.config) }}{{ $strimziCa = printf "%s-cluster-ca-cert" $root.Values.strimzi.cluster }}{{ end -}}
{{- $files := list -}}
{{- $variables := list -}}
{{- if $configured -}}
{{- $files = include "hirewire.secretFiles" (dict "root" $root "role" (default $role .secretsOf)) | fromJsonArray -}}
{{- $variables = include "hirewire.secretVariables" (dict "root" $root "role" (default $role .secretsOf)) | fromJsonArray -}}
{{- end -}}
metadata:
  labels:
    {{- include "hirewire.selector" (dict "root" $root "role" $role) | nindent 4 }}
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    {{- with merge (dict) $settings.podLabels $root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := merge (dict) $settings.podAnnotations $root.Values.commonAnnotations }}
  {{- if and $configured (not $job) }}
  {{- $_ := set $annotations "checksum/config" (include "hirewire.configData" $root | sha256sum) }}
  {{- if $root.Values.secrets.restartOnChange }}
  {{- $_ := set $annotations "checksum/secrets" (include "hirewire.secretVersions" $root) }}
  {{- end }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ if .serviceAccount }}{{ .serviceAccount }}{{ else }}{{ include "hirewire.serviceAccount" (dict "root" $root "role" $role) }}{{ end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if $job }}
  restartPolicy: Never
  {{- else }}
  terminationGracePeriodSeconds: {{ include "hirewire.grace" (dict "root" $root "role" $role) }}
  {{- end }}
  {{- with $settings.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $settings.topologySpread.enabled (not $job) (not (has $role (list "embedded" "registry"))) }}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $settings.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "hirewire.selector" (dict "root" $root "role" $role) | nindent 10 }}
      {{- if not (include "hirewire.stateful" (dict "root" $root "role" $role)) }}
      # Pods of the release before do not count.
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  {{- end }}
  containers:
    - name: hirewire
      image: {{ include "hirewire.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: {{ if $job }}{{ toJson .args }}{{ else }}{{ include "hirewire.args" (dict "root" $root "role" $role) }}{{ end }}
      {{- with $settings.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        - name: HIREWIRE_LOG
          value: {{ $root.Values.log.filter | quote }}
        - name: HIREWIRE_LOG_FORMAT
          value: {{ $root.Values.log.format | quote }}
        {{- range $variables }}
        - name: {{ .name }}
          valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}}
        {{- end }}
        {{- with $settings.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $settings.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if not $job }}
      ports:
        {{- if has $role (list "webhook" "embedded") }}
        - {name: webhook, containerPort: {{ $root.Values.ports.webhook }}}
        {{- end }}
        {{- if eq $role "registry" }}
        - {name: registry, containerPort: {{ $root.Values.ports.registry }}}
        {{- end }}
        - {name: admin, containerPort: {{ $root.Values.ports.admin }}}
      {{- with $settings.probes }}
      # A start ends when the service is ready: until then a long restore is not taken for a standstill. Webhooks wait for nothing.
      startupProbe:
        httpGet: {path: {{ ternary "/livez" "/readyz" (has $role (list "webhook" "poll" "registry")) }}, port: admin}
        periodSeconds: {{ .startup.periodSeconds }}
        failureThreshold: {{ div (add (int .startup.limitSeconds) (int .startup.periodSeconds) -1) (int .startup.periodSeconds) }}
        timeoutSeconds: 2
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: {{ .readiness.periodSeconds }}
        failureThreshold: {{ .readiness.failureThreshold }}
        timeoutSeconds: 2
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: {{ .liveness.periodSeconds }}
        failureThreshold: {{ .liveness.failureThreshold }}
        timeoutSeconds: 2
      {{- end }}
      {{- if gt (int $settings.preStopSeconds) 0 }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ $settings.preStopSeconds }}}
      {{- end }}
      {{- end }}
      resources:
        {{- include "hirewire.resources" (dict "settings" $settings "job" $job) | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if $configured }}
        - {name: config, mountPath: /etc/hirewire, readOnly: true}
        {{- end }}
        {{- range $index, $secret := $files }}
        - {name: secret-{{ $index }}, mountPath: "/secrets/{{ $secret }}", readOnly: true}
        {{- end }}
        {{- if $strimzi }}
        - {name: strimzi-user, mountPath: /secrets/strimzi-user, readOnly: true}
        {{- if $strimziCa }}
        - {name: strimzi-ca, mountPath: "/secrets/{{ $strimziCa }}", readOnly: true}
        {{- end }}
        {{- end }}
        {{- if and $state (not $job) }}
        - {name: state, mountPath: /var/lib/hirewire}
        {{- end }}
        {{- with $settings.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if $configured }}
    {{- $own := printf "%s%s" (include "hirewire.fullname" $root) (.configSuffix | default "") }}
    - name: config
      projected:
        sources:
          - configMap:
              name: {{ $root.Values.existingConfigMap | default $own | quote }}
              items: [{key: hirewire.yaml, path: hirewire.yaml}]
          {{- if $root.Values.overlays }}
          - configMap:
              name: {{ $own | quote }}
              items:
                {{- range $name, $_ := $root.Values.overlays }}
                - {key: {{ $name | quote }}, path: {{ printf "overlays/%s" $name | quote }}}
                {{- end }}
          {{- end }}
    {{- end }}
    {{- range $index, $secret := $files }}
    - name: secret-{{ $index }}
      # Readable by the pod's group alone.
      secret: {secretName: {{ $secret | quote }}, defaultMode: 0440}
    {{- end }}
    {{- if $strimzi }}
    - name: strimzi-user
      secret: {secretName: {{ include "hirewire.fullname" $root }}-{{ $role }}, defaultMode: 0440}
    {{- if $strimziCa }}
    - name: strimzi-ca
      secret: {secretName: {{ $strimziCa }}, items: [{key: ca.crt, path: ca.crt}], defaultMode: 0440}
    {{- end }}
    {{- end }}
    {{- if and $state (not $job) (eq $state.type "ephemeral") }}
    - name: state
      emptyDir: {sizeLimit: {{ $state.size }}}
    {{- end }}
    {{- with $settings.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Requests and limits. An emptyDir counts as ephemeral storage of the pod: without its size in the limit, state would get the pod evicted. */}}
{{- define "hirewire.resources" -}}
{{- $resources := deepCopy .settings.resources -}}
{{- $limit := 256 -}}
{{- $request := 64 -}}
{{- $state := .settings.state -}}
{{- if and $state (not .job) (eq $state.type "ephemeral") -}}
{{- $number := regexFind "^[0-9.]+" $state.size | float64 -}}
{{- $size := mulf $number (get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) (regexFind "[A-Z]i$" $state.size)) | ceil | int -}}
{{- $limit = add $limit $size -}}
{{- $request = add $request $size -}}
{{- end -}}
{{- $resources = merge $resources (dict "requests" (dict "ephemeral-storage" (printf "%dMi" $request)) "limits" (dict "ephemeral-storage" (printf "%dMi" $limit))) -}}
{{- toYaml $resources -}}
{{- end }}

{{/* Versions of all Secrets that are used, as one sum: not their values, so that it tells nothing of them. */}}
{{- define "hirewire.secretVersions" -}}
{{- $names := .Values.secrets.files -}}
{{- range .Values.secrets.env }}{{ $names = append $names .secret }}{{ end -}}
{{- $versions := list -}}
{{- range $names | uniq -}}
{{- $versions = append $versions (dig "metadata" "resourceVersion" "" (lookup "v1" "Secret" $.Release.Namespace .)) -}}
{{- end -}}
{{- $versions | join "," | sha256sum -}}
{{- end }}

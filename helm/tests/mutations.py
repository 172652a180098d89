"""Defences of the chart, each with what must be said when it is taken away: (file, text, text instead, complaint, and the preset, if it is not
values-production.yaml). A defence without a line here was never seen red.
"""
POD = "templates/_pod.tpl"
POLICY = "templates/networkpolicy.yaml"
VALUES = "values.yaml"

MUTATIONS = [
    (VALUES, "    runAsNonRoot: true\n", "", "may run as root"),
    (VALUES, "    runAsUser: 65532\n", "", "runs as root"),
    (VALUES, "    runAsGroup: 65532\n", "", "runs as root"),
    (VALUES, "    seccompProfile: {type: RuntimeDefault}\n", "", "no seccomp profile"),
    (VALUES, "    allowPrivilegeEscalation: false\n", "", "may gain privileges"),
    (VALUES, "    readOnlyRootFilesystem: true\n", "", "can write to its root"),
    (VALUES, "    capabilities: {drop: [ALL]}\n", "", "keeps capabilities"),
    (VALUES, "    limits: {memory: 512Mi}\n", "", "has no limit of memory"),
    (POD, "  automountServiceAccountToken: false\n", "", "gets a token"),
    ("templates/serviceaccounts.yaml", "automountServiceAccountToken: false\n", "", "hands out a token"),
    ("templates/bootstrap.yaml", "automountServiceAccountToken: false\n", "", "hands out a token"),
    (POD, "  enableServiceLinks: false\n", "", "gets other services as variables"),
    (POD, ", defaultMode: 0440", "", "others may read"),
    ("templates/_config.tpl", '(list "embedded" "check")', '(list "embedded" "check" "normalize")', "rel-hirewire-normalize: gets the secrets"),
    ("templates/_config.tpl", 'if eq (include "hirewire.does" .) "route"', 'if has .role (list "webhook" "route")', "rel-hirewire-webhook: gets the secrets"),
    (POD, "emptyDir: {sizeLimit: 64Mi}", "emptyDir: {}", "has no limit"),
    (POD, "emptyDir: {sizeLimit: {{ $state.size }}}", "emptyDir: {}", "has no limit"),
    ("templates/_helpers.tpl", ":{{ .tag | default $.Chart.AppVersion }}", ":latest", "an image without a version"),
    (POLICY, "  policyTypes: [Ingress, Egress]\n", "  policyTypes: [Ingress]\n", "nothing denies all"),
    (POLICY, "  policyTypes: [Ingress, Egress]\n", "  policyTypes: [Egress]\n", "no policy of Ingress"),
    (POLICY, '$jobs = append $jobs "test"', '$jobs = $jobs', "rel-hirewire-test-topics: Egress 9093 10.1.0.0/24 is shut"),
    (POLICY, "{{- include \"hirewire.kafkaEgress\" . }}", "", "Egress 9093 10.1.0.0/24 is shut"),
    (POLICY, "- ports: [{port: {{ $values.ports.webhook }}, protocol: TCP}]", "- ports: []", "Ingress any port gateways is open"),
    (POLICY, '(list "poll" "embedded")', '(list "poll" "webhook" "embedded")', "rel-hirewire-webhook: Egress 443 public is open"),
    (POLICY, '(list "route" "embedded")', '(list "normalize" "route" "embedded")', "rel-hirewire-normalize: Egress 5432 public is open"),
    (VALUES, ", except: [10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]", "", "Egress 443 anybody is open"),
    (VALUES, ', except: ["fc00::/7", "fe80::/10"]', "", "Egress 443 anybody is open"),
    ("templates/bootstrap.yaml", "  policyTypes: [Ingress, Egress]\n  egress:", "  policyTypes: [Ingress, Egress]\n  ingress: [{ports: [{port: 22}]}]\n  egress:", "Ingress 22 anybody is open"),
    # Who, beside the port.
    (POLICY, "  {{- with $values.networkPolicy.webhookFrom }}\n", "  {{- with list }}\n", "rel-hirewire-webhook: Ingress 8080 anybody is open"),
    (POLICY, "    {{- toYaml $values.networkPolicy.metricsFrom | nindent 4 }}\n", "    - {}\n", "Ingress 9644 anybody is open"),
    (POLICY, "{{- if and $values.networkPolicy.metricsFrom (not (has .role (list \"test\" \"operator\"))) }}", "{{- if $values.networkPolicy.metricsFrom }}", "rel-hirewire-test-topics: Ingress 9644 monitoring is open"),
    (POLICY, "  {{- with .root.Values.networkPolicy.kafka.to }}\n", "  {{- with list }}\n", "Egress 9093 anybody is open"),
    (POLICY, "  {{- else if .root.Values.networkPolicy.schemaRegistry.to }}\n", "  {{- else if false }}\n", "Egress 443 anybody is open"),
    (POLICY, "  to:\n    {{- toYaml .to | nindent 4 }}\n", "", "Egress 53 anybody is open"),
    (POLICY, "    {{- include \"hirewire.dnsEgress\" . | trim | nindent 4 }}\n", "    - {ports: [{port: 1}]}\n", "Egress 53 kube-system is shut"),
    (POLICY, '(list "webhook" "poll" "normalize" "route" "operator")) (and', '(list "poll" "normalize" "route" "operator")) (and', "rel-hirewire-webhook: Egress 443 10.1.1.0/24 is shut"),
    ("templates/bootstrap.yaml", "    {{- if not .Values.registry.enabled }}\n", "    {{- if false }}\n", "rel-hirewire-bootstrap: Egress 443 10.1.1.0/24 is shut"),
    ("templates/bootstrap.yaml", "    {{- if not .Values.registry.enabled }}\n", "    {{- if true }}\n", "rel-hirewire-bootstrap: Egress 8081 registry is open", "values-kafka.yaml"),
    # The chart's registry, and what `helm test` walks through.
    (POLICY, "- ports: [{port: {{ $values.ports.registry }}, protocol: TCP}]\n  from:\n", "- ports: [{port: {{ $values.ports.registry }}, protocol: TCP}]\n- from:\n", "rel-hirewire-registry: Ingress 8081 anybody is open", "values-kafka.yaml"),
    (POLICY, "  {{- if .root.Values.registry.enabled }}\n", "  {{- if false }}\n", "rel-hirewire-poll: Egress 8081 anybody is open", "values-kafka.yaml"),
    (POLICY, '(dict "root" .root "role" "webhook")', '(dict "root" .root)', "rel-hirewire-test-walk: Egress 8080 release is open", "values-kafka.yaml"),
    (POLICY, '(list "webhook" "poll" "normalize" "route" "test" "operator")', '(list "webhook" "poll" "normalize" "route" "test" "operator" "registry")', "rel-hirewire-registry: Egress 9092 anybody is open", "values-kafka.yaml"),
    # One pod.
    (POLICY, '(dict "root" .root "role" "test")', '(dict "root" .root)', "rel-hirewire-embedded: Ingress 9644 release is open", "values-small.yaml"),
    (POLICY, '(dict "root" .root "role" "embedded")', '(dict "root" .root)', "Egress 9644 release is open", "values-small.yaml"),
    # Objects that the chart makes none of, and kinds of volumes.
    ("templates/serviceaccounts.yaml", "automountServiceAccountToken: false\n", "automountServiceAccountToken: false\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", "the chart makes none"),
    (POD, "emptyDir: {sizeLimit: 64Mi}", "hostPath: {path: /}", "a volume of the kind hostPath"),
    (POD, "  enableServiceLinks: false\n", "  enableServiceLinks: false\n  hostNetwork: true\n", "uses the host's namespaces"),
    (VALUES, "    allowPrivilegeEscalation: false\n", "    allowPrivilegeEscalation: false\n    privileged: true\n", "is privileged"),
]

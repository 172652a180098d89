"""Defences of the chart, each with what must be said when it is taken away: (file, text, text instead, complaint).

Rendered with values-production.yaml; what Strimzi's operators are told, with values-kafka.yaml. A defence without a line here was never seen red.
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
    (POLICY, '(list "test")', "list", "rel-hirewire-test-topics: Egress on"),
    (POLICY, "{{- include \"hirewire.kafkaEgress\" . }}", "", "Egress on"),
    (POLICY, "- ports: [{port: {{ $values.ports.webhook }}, protocol: TCP}]", "- ports: []", "Ingress on every port"),
    (POLICY, '(list "poll" "embedded")', '(list "poll" "webhook" "embedded")', "Egress on"),
    (POLICY, '(list "route" "embedded")', '(list "normalize" "route" "embedded")', "Egress on"),
    (VALUES, ", except: [10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]", "", "Egress to private networks"),
    ("templates/bootstrap.yaml", "  policyTypes: [Ingress, Egress]\n  egress:", "  policyTypes: [Ingress, Egress]\n  ingress: [{ports: [{port: 22}]}]\n  egress:", "Ingress on"),
]

"""Values and what they must lead to. VARIANTS: (name, presets, values, look at the objects). REFUSED: (presets, values, key that the message names)."""
import json
import re

SMALL, KAFKA, PRODUCTION = ["values-small.yaml"], ["values-kafka.yaml"], ["values-production.yaml"]
LABEL = "app.kubernetes.io/component"

STRIMZI = {"strimzi": {"enabled": True, "cluster": "main"}}
GROUPS = {"route": {"groups": {"pay": {"sinks": ["payroll", "onboarding"], "replicas": 3, "resources": {"limits": {"memory": "2Gi"}}}, "rest": {"sinks": ["analytics"]}}}}


def kinds(found):
    return [each["kind"] for each in found]


def one(found, kind, name):
    matching = [each for each in found if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(matching) == 1, f"{kind} {name}: {[(e['kind'], e['metadata']['name']) for e in found]}"
    return matching[0]


def pod(found, role, kind="Deployment"):
    return one(found, kind, f"rel-hirewire-{role}")["spec"]["template"]["spec"]


def container(found, role, kind="Deployment"):
    return pod(found, role, kind)["containers"][0]


def equal(left, right):
    assert left == right, f"{left!r} is not {right!r}"


def all_of(*looks):
    return lambda found: [look(found) for look in looks]


def config(found):
    return one(found, "ConfigMap", "rel-hirewire")["data"]["hirewire.yaml"]


def contains(text, part):
    assert part in text, f"{part!r} is not in {text!r}"


def lacks(text, part):
    assert part not in text, f"{part!r} is in {text!r}"


VARIANTS = [
    ("no values: embedded", [], {}, lambda f: equal(
        sorted(kinds(f)), sorted(["StatefulSet", "Service", "Service", "ConfigMap", "ServiceAccount", "PodDisruptionBudget"] + 3 * ["NetworkPolicy"]))),
    ("embedded, ephemeral", SMALL, {"embedded": {"state": {"type": "ephemeral", "size": "1.5Gi"}}}, all_of(
        lambda f: lacks(one(f, "StatefulSet", "rel-hirewire-embedded")["spec"], "volumeClaimTemplates"),
        lambda f: contains(pod(f, "embedded", "StatefulSet")["volumes"], {"name": "state", "emptyDir": {"sizeLimit": "1.5Gi"}}),
        lambda f: equal(container(f, "embedded", "StatefulSet")["resources"]["limits"]["ephemeral-storage"], "1792Mi"))),
    ("embedded, storage class", SMALL, {"embedded": {"state": {"storageClassName": "encrypted", "size": "50Gi"}}}, lambda f: equal(
        one(f, "StatefulSet", "rel-hirewire-embedded")["spec"]["volumeClaimTemplates"][0]["spec"],
        {"accessModes": ["ReadWriteOnce"], "storageClassName": "encrypted", "resources": {"requests": {"storage": "50Gi"}}})),
    ("embedded listens and knows itself", SMALL, {}, all_of(
        lambda f: contains(config(f), 'broker: "127.0.0.1:9092"'),
        lambda f: contains(config(f), 'url: "http://127.0.0.1:8081"'),
        lambda f: contains(config(f), "partitions: 4\n"))),
    ("embedded, partitions", SMALL, {"config": {"kafka": {"partitions": 8}}}, lambda f: contains(config(f), "partitions: 8\n")),
    ("large numbers stay whole", SMALL, {"config": {"ingest": {"max_in_flight_bytes": 1073741824}}}, lambda f: contains(config(f), "max_in_flight_bytes: 1073741824\n")),
    ("texts keep their quotes", SMALL, {"config": {"connections": {"acme-greenhouse": {"tenant": 'a "b" c: #d'}}}}, lambda f: contains(config(f), r'tenant: "a \"b\" c: #d"')),
    ("roles are commands", KAFKA, {}, all_of(
        lambda f: equal(container(f, "webhook")["args"], ["ingest", "--role", "webhook", "--config", "/etc/hirewire/hirewire.yaml"]),
        lambda f: equal(container(f, "poll")["args"], ["ingest", "--role", "poll", "--config", "/etc/hirewire/hirewire.yaml"]),
        lambda f: equal(container(f, "normalize")["args"], ["normalize", "--config", "/etc/hirewire/hirewire.yaml"]),
        lambda f: equal(container(f, "route")["args"], ["route", "--config", "/etc/hirewire/hirewire.yaml"]),
        lambda f: equal(container(f, "registry", "StatefulSet")["args"],
                        ["registry", "--listen", "0.0.0.0:8081", "--data", "/var/lib/hirewire", "--admin", "0.0.0.0:9644"]))),
    ("the chart's registry is named", KAFKA, {}, lambda f: contains(config(f), 'url: "http://rel-hirewire-registry:8081"')),
    ("a registry of one's own", PRODUCTION, {}, all_of(
        lambda f: contains(config(f), 'url: "https://schema-registry.example.com"'), lambda f: lacks(kinds(f), "StatefulSet"))),
    ("roles can be left out", KAFKA, {"poll": {"enabled": False}, "route": {"enabled": False}}, lambda f: equal(
        sorted(e["metadata"]["name"] for e in f if e["kind"] == "Deployment"), ["rel-hirewire-normalize", "rel-hirewire-webhook"])),
    ("probes of the right kind", KAFKA, {}, all_of(
        lambda f: equal([container(f, "webhook")[p]["httpGet"]["path"] for p in ("startupProbe", "readinessProbe", "livenessProbe")], ["/livez", "/readyz", "/livez"]),
        lambda f: equal([container(f, "normalize")[p]["httpGet"]["path"] for p in ("startupProbe", "readinessProbe", "livenessProbe")], ["/readyz", "/readyz", "/livez"]),
        lambda f: equal(container(f, "normalize")["startupProbe"]["failureThreshold"], 1800))),
    ("a start's limit is rounded up", KAFKA, {"route": {"probes": {"startup": {"limitSeconds": 61, "periodSeconds": 10}}}}, lambda f: equal(
        container(f, "route")["startupProbe"]["failureThreshold"], 7)),
    ("grace follows the pause", KAFKA, {"webhook": {"preStopSeconds": 12}}, all_of(
        lambda f: equal(pod(f, "webhook")["terminationGracePeriodSeconds"], 42),
        lambda f: equal(container(f, "webhook")["lifecycle"], {"preStop": {"sleep": {"seconds": 12}}}),
        lambda f: equal(pod(f, "normalize")["terminationGracePeriodSeconds"], 30),
        lambda f: lacks(container(f, "normalize"), "lifecycle"))),
    ("grace follows the drain", KAFKA, {"config": {"ingest": {"drain_timeout": "1m"}}}, lambda f: equal(pod(f, "webhook")["terminationGracePeriodSeconds"], 75)),
    ("grace can be longer", KAFKA, {"route": {"terminationGracePeriodSeconds": 90}}, lambda f: equal(pod(f, "route")["terminationGracePeriodSeconds"], 90)),
    ("a role wins over defaults", KAFKA, {"defaults": {"priorityClassName": "low", "nodeSelector": {"pool": "a"}}, "route": {"priorityClassName": "high"}}, all_of(
        lambda f: equal(pod(f, "route")["priorityClassName"], "high"),
        lambda f: equal(pod(f, "poll")["priorityClassName"], "low"),
        lambda f: equal(pod(f, "route")["nodeSelector"], {"pool": "a"}))),
    ("a role can switch off what defaults have on", KAFKA, {"webhook": {"pdb": {"enabled": False}, "topologySpread": {"enabled": False}}}, all_of(
        lambda f: lacks([e["metadata"]["name"] for e in f if e["kind"] == "PodDisruptionBudget"], "rel-hirewire-webhook"),
        lambda f: lacks(pod(f, "webhook"), "topologySpreadConstraints"),
        lambda f: contains(pod(f, "poll"), "topologySpreadConstraints"))),
    ("tolerations, affinity", KAFKA, {"defaults": {"tolerations": [{"key": "x", "operator": "Exists"}], "affinity": {"nodeAffinity": {}}}}, all_of(
        lambda f: equal(pod(f, "webhook")["tolerations"], [{"key": "x", "operator": "Exists"}]), lambda f: equal(pod(f, "webhook")["affinity"], {"nodeAffinity": {}}))),
    ("OpenShift: no fixed user", KAFKA, {"defaults": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}}, lambda f: equal(
        pod(f, "webhook")["securityContext"], {"runAsNonRoot": True, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}})),
    ("variables and volumes of one's own", KAFKA, {"defaults": {
        "extraEnv": [{"name": "HIREWIRE_VENDORS_DIR", "value": "/vendors"}], "extraEnvFrom": [{"configMapRef": {"name": "proxy"}}],
        "extraVolumes": [{"name": "vendors", "configMap": {"name": "vendors"}}], "extraVolumeMounts": [{"name": "vendors", "mountPath": "/vendors"}]}}, all_of(
        lambda f: contains(container(f, "normalize")["env"], {"name": "HIREWIRE_VENDORS_DIR", "value": "/vendors"}),
        lambda f: contains(container(f, "normalize")["volumeMounts"], {"name": "vendors", "mountPath": "/vendors"}))),
    ("secrets are mounted whole, so that a rotation is seen", PRODUCTION, {}, all_of(
        lambda f: contains(container(f, "route")["volumeMounts"], {"name": "secret-2", "mountPath": "/secrets/payroll", "readOnly": True}),
        lambda f: lacks(str(container(f, "route")["volumeMounts"]), "subPath"),
        lambda f: contains(container(f, "route")["env"], {"name": "KAFKA_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "kafka-user", "key": "password"}}}))),
    ("a ConfigMap of one's own", [], {"mode": "kafka", "existingConfigMap": "mine"}, all_of(
        lambda f: lacks(kinds(f), "ConfigMap"),
        lambda f: equal(pod(f, "route")["volumes"][1]["projected"]["sources"][0]["configMap"]["name"], "mine"))),
    ("a ConfigMap of one's own with overlays", [], {"mode": "kafka", "existingConfigMap": "mine", "overlays": {"a.yaml": "version: '1'\n"}}, all_of(
        lambda f: equal(one(f, "ConfigMap", "rel-hirewire")["data"], {"a.yaml": "version: '1'\n"}),
        lambda f: equal(len(pod(f, "route")["volumes"][1]["projected"]["sources"]), 2))),
    ("state on claims", KAFKA, {"normalize": {"state": {"type": "persistent", "size": "7Gi"}}}, all_of(
        lambda f: equal(one(f, "StatefulSet", "rel-hirewire-normalize")["spec"]["volumeClaimTemplates"][0]["spec"]["resources"], {"requests": {"storage": "7Gi"}}),
        lambda f: equal(container(f, "normalize", "StatefulSet")["resources"]["limits"]["ephemeral-storage"], "256Mi"),
        lambda f: equal(one(f, "Service", "rel-hirewire-state")["spec"]["clusterIP"], "None"))),
    ("state in the limit of storage", KAFKA, {}, lambda f: equal(container(f, "normalize")["resources"]["limits"]["ephemeral-storage"], "5376Mi")),
    ("one's own limit of storage", KAFKA, {"normalize": {"resources": {"limits": {"ephemeral-storage": "9Gi"}}}}, lambda f: equal(
        container(f, "normalize")["resources"]["limits"], {"memory": "1Gi", "ephemeral-storage": "9Gi"})),
    ("autoscaling takes the replicas", PRODUCTION, {}, all_of(
        lambda f: lacks(one(f, "Deployment", "rel-hirewire-webhook")["spec"], "replicas"),
        lambda f: equal(one(f, "HorizontalPodAutoscaler", "rel-hirewire-webhook")["spec"]["maxReplicas"], 12))),
    ("KEDA for normalize", PRODUCTION, {"normalize": {"keda": {"enabled": True, "authenticationRef": "kafka-auth"}}}, all_of(
        lambda f: lacks(one(f, "Deployment", "rel-hirewire-normalize")["spec"], "replicas"),
        lambda f: equal(one(f, "ScaledObject", "rel-hirewire-normalize")["spec"]["maxReplicaCount"], 12),
        lambda f: equal(one(f, "ScaledObject", "rel-hirewire-normalize")["spec"]["triggers"], [{
            "type": "kafka", "authenticationRef": {"name": "kafka-auth"}, "metadata": {
                "bootstrapServers": "kafka-1.example.com:9093,kafka-2.example.com:9093,kafka-3.example.com:9093", "consumerGroup": "prod.hirewire-normalize",
                "lagThreshold": "5000", "activationLagThreshold": "100", "offsetResetPolicy": "earliest", "excludePersistentLag": "true",
                "scaleToZeroOnInvalidOffset": "false", "sasl": "scram_sha512", "tls": "enable"}}]))),
    ("KEDA for route: a trigger for each sink", PRODUCTION, {"route": {"keda": {"enabled": True, "maxReplicas": 6}}}, lambda f: equal(
        [t["metadata"]["consumerGroup"] for t in one(f, "ScaledObject", "rel-hirewire-route")["spec"]["triggers"]],
        ["prod.hirewire-route.analytics", "prod.hirewire-route.onboarding", "prod.hirewire-route.payroll"])),
    ("KEDA for a StatefulSet", PRODUCTION, {"route": {"keda": {"enabled": True}, "state": {"type": "persistent"}}}, lambda f: equal(
        one(f, "ScaledObject", "rel-hirewire-route")["spec"]["scaleTargetRef"]["kind"], "StatefulSet")),
    ("a workload for each group of sinks", PRODUCTION, GROUPS, all_of(
        lambda f: equal(sorted(e["metadata"]["name"] for e in f if e["kind"] == "Deployment" and "route" in e["metadata"]["name"]), ["rel-hirewire-route-pay", "rel-hirewire-route-rest"]),
        lambda f: equal(container(f, "route-pay")["args"], ["route", "--config", "/etc/hirewire/hirewire.yaml", "--sinks", "payroll,onboarding"]),
        lambda f: equal(one(f, "Deployment", "rel-hirewire-route-pay")["spec"]["replicas"], 3),
        lambda f: equal(container(f, "route-pay")["resources"]["limits"]["memory"], "2Gi"),
        lambda f: equal(one(f, "Deployment", "rel-hirewire-route-rest")["spec"]["selector"]["matchLabels"][LABEL], "route-rest"),
        # What only another group's sinks need, a group does not get.
        lambda f: contains(str(pod(f, "route-pay")["volumes"]), "'payroll'"),
        lambda f: lacks(str(pod(f, "route-rest")["volumes"]), "'payroll'"),
        lambda f: equal([e["metadata"]["name"] for e in f if e["kind"] == "NetworkPolicy" and "route" in e["metadata"]["name"]], ["rel-hirewire-route-pay", "rel-hirewire-route-rest"]),
        lambda f: lacks(str(one(f, "NetworkPolicy", "rel-hirewire-route-rest")["spec"]["egress"][2]["ports"]), "443"),
        lambda f: equal(sorted(e["metadata"]["name"] for e in f if e["kind"] == "PodDisruptionBudget" and "route" in e["metadata"]["name"]), ["rel-hirewire-route-pay", "rel-hirewire-route-rest"]))),
    ("KEDA for a group of sinks: a trigger for each of its own", PRODUCTION, {"route": {"groups": {
        "pay": {**GROUPS["route"]["groups"]["pay"], "keda": {"enabled": True}}, "rest": GROUPS["route"]["groups"]["rest"]}}}, all_of(
        lambda f: equal([t["metadata"]["consumerGroup"] for t in one(f, "ScaledObject", "rel-hirewire-route-pay")["spec"]["triggers"]],
                        ["prod.hirewire-route.onboarding", "prod.hirewire-route.payroll"]),
        lambda f: equal(len([e for e in f if e["kind"] == "ScaledObject"]), 1))),
    ("Strimzi: a group of sinks may no more than it needs", KAFKA, {**STRIMZI, "config": {"sinks": {"moves": {"system": "stream", "kafka": {"topic": "hr.moves"}}}},
        "route": {"groups": {"a": {"sinks": ["moves"]}, "b": {"sinks": ["onboarding"]}}}}, lambda f: equal(
        sorted(a["resource"]["name"] for a in one(f, "KafkaUser", "rel-hirewire-route-b")["spec"]["authorization"]["acls"] if re.search("dlq.route|hr.moves|hirewire-route", a["resource"]["name"])
               and a["resource"]["type"] != "transactionalId"), ["test.ats.dlq.route.onboarding.v1", "test.hirewire-route.onboarding"])),
    ("a file's sink in a group of its own", KAFKA, {"config": {"sinks": {"lines": {"system": "stream", "file": {"path": "/var/lib/hirewire/lines"}}}},
        "route": {"groups": {"files": {"sinks": ["lines"], "replicas": 1, "state": {"type": "persistent"}}, "rest": {"sinks": ["onboarding"]}}}}, lambda f: one(f, "StatefulSet", "rel-hirewire-route-files")),
    ("Ingress", SMALL, {"ingress": {"enabled": True, "className": "nginx", "hosts": ["a.example.com"], "tlsSecret": "cert",
                                    "bodyLimitAnnotation": "nginx.ingress.kubernetes.io/proxy-body-size"}}, all_of(
        lambda f: equal(one(f, "Ingress", "rel-hirewire-webhook")["metadata"]["annotations"], {"nginx.ingress.kubernetes.io/proxy-body-size": "10485760"}),
        lambda f: equal(one(f, "Ingress", "rel-hirewire-webhook")["spec"]["tls"], [{"secretName": "cert", "hosts": ["a.example.com"]}]),
        lambda f: equal(one(f, "Ingress", "rel-hirewire-webhook")["spec"]["rules"][0]["http"]["paths"][0]["path"], "/v1/webhooks/"))),
    ("Ingress, another body limit", SMALL, {"config": {"ingest": {"max_body_bytes": 2097152}}, "ingress": {
        "enabled": True, "hosts": ["a.example.com"], "annotations": {"a": "b"}, "bodyLimitAnnotation": "size"}}, lambda f: equal(
        one(f, "Ingress", "rel-hirewire-webhook")["metadata"]["annotations"], {"a": "b", "size": "2097152"})),
    ("Gateway API", PRODUCTION, {}, lambda f: equal(one(f, "HTTPRoute", "rel-hirewire-webhook")["spec"]["rules"][0]["backendRefs"], [{"name": "rel-hirewire-webhook", "port": 80}])),
    ("only webhooks are led in", PRODUCTION, {}, lambda f: equal(
        one(f, "HTTPRoute", "rel-hirewire-webhook")["spec"]["rules"][0]["matches"], [{"path": {"type": "PathPrefix", "value": "/v1/webhooks/"}}])),
    ("load balancer", SMALL, {"service": {"type": "LoadBalancer", "port": 443, "annotations": {"x": "y"}}}, all_of(
        lambda f: equal(one(f, "Service", "rel-hirewire-webhook")["spec"]["type"], "LoadBalancer"),
        lambda f: equal(one(f, "Service", "rel-hirewire-webhook")["spec"]["selector"][LABEL], "embedded"))),
    ("network policies off", KAFKA, {"networkPolicy": {"enabled": False}}, lambda f: lacks(kinds(f), "NetworkPolicy")),
    ("traces go to their collector, and nowhere without one", KAFKA, {
        "config": {"traces": {"endpoint": "http://otel.example.com:4318"}}, "networkPolicy": {"collector": {"to": [{"ipBlock": {"cidr": "10.7.0.0/24"}}]}}}, all_of(
        lambda f: contains(config(f), 'endpoint: "http://otel.example.com:4318"'),
        lambda f: contains(one(f, "NetworkPolicy", "rel-hirewire-all")["spec"]["egress"],
                           {"ports": [{"port": 4318, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.7.0.0/24"}}]}))),
    ("no collector, no way to it", KAFKA, {}, lambda f: equal(len(one(f, "NetworkPolicy", "rel-hirewire-all")["spec"]["egress"]), 1)),
    ("egress of one's own", KAFKA, {"networkPolicy": {"extraEgress": [{"ports": [{"port": 3128}]}]}}, all_of(
        lambda f: contains(one(f, "NetworkPolicy", "rel-hirewire-all")["spec"]["egress"], {"ports": [{"port": 3128}]}),
        lambda f: contains(one(f, "NetworkPolicy", "rel-hirewire-bootstrap")["spec"]["egress"], {"ports": [{"port": 3128}]}))),
    ("a sink in a private network is let through", PRODUCTION, {}, lambda f: contains(
        one(f, "NetworkPolicy", "rel-hirewire-route")["spec"]["egress"][-1]["to"], {"ipBlock": {"cidr": "10.20.0.0/16"}})),
    ("a sink's port", KAFKA, {"config": {"sinks": {"onboarding": {"http": {"url": "https://hr.example.com:8443/x"}}}}}, lambda f: contains(
        one(f, "NetworkPolicy", "rel-hirewire-route")["spec"]["egress"][-1]["ports"], {"port": 8443, "protocol": "TCP"})),
    ("Kafka's ports", KAFKA, {"config": {"kafka": {"bootstrap_servers": "a:9092, b:9192"}}}, lambda f: equal(
        one(f, "NetworkPolicy", "rel-hirewire-webhook")["spec"]["egress"][0]["ports"], [{"port": 9092, "protocol": "TCP"}, {"port": 9192, "protocol": "TCP"}])),
    ("IPv6", SMALL, {"listenAddress": "[::]"}, lambda f: contains(config(f), 'listen: "[::]:9644"')),
    ("ports", SMALL, {"ports": {"webhook": 18080, "admin": 19644}}, all_of(
        lambda f: contains(config(f), 'listen: "0.0.0.0:18080"'),
        lambda f: equal(container(f, "embedded", "StatefulSet")["ports"], [{"name": "webhook", "containerPort": 18080}, {"name": "admin", "containerPort": 19644}]))),
    ("image by digest", SMALL, {"image": {"repository": "r.example.com/h", "tag": "x", "digest": "sha256:" + 64 * "a"}}, lambda f: equal(
        container(f, "embedded", "StatefulSet")["image"], "r.example.com/h@sha256:" + 64 * "a")),
    ("image by tag, pull secret", SMALL, {"image": {"tag": "1.2.3"}, "imagePullSecrets": [{"name": "s"}]}, all_of(
        lambda f: equal(container(f, "embedded", "StatefulSet")["image"], "hirewire:1.2.3"),
        lambda f: equal(pod(f, "embedded", "StatefulSet")["imagePullSecrets"], [{"name": "s"}]))),
    ("ServiceMonitor", PRODUCTION, {"monitoring": {"scrape": "ServiceMonitor"}}, all_of(
        lambda f: equal(one(f, "ServiceMonitor", "rel-hirewire")["spec"]["selector"]["matchLabels"], {
            key: one(f, "Service", "rel-hirewire-metrics")["metadata"]["labels"][key] for key in one(f, "ServiceMonitor", "rel-hirewire")["spec"]["selector"]["matchLabels"]}),
        lambda f: equal(one(f, "ServiceMonitor", "rel-hirewire")["metadata"]["labels"]["release"], "kube-prometheus-stack"))),
    ("PodMonitor and rules", PRODUCTION, {}, all_of(
        lambda f: equal(one(f, "PodMonitor", "rel-hirewire")["spec"]["podMetricsEndpoints"], [{"port": "admin", "path": "/metrics", "interval": "30s"}]),
        lambda f: contains(str(one(f, "PrometheusRule", "rel-hirewire")["spec"]["groups"]), "{{ $labels."))),
    ("runbooks in the repository", PRODUCTION, {"monitoring": {"runbooks": ""}}, lambda f: equal(
        one(f, "PrometheusRule", "rel-hirewire")["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"], "docs/runbooks/HirewireDown.md")),
    ("runbooks elsewhere", PRODUCTION, {"monitoring": {"runbooks": "https://git.example.com/hirewire/runbooks/"}}, lambda f: equal(
        [], [rule["alert"] for group in one(f, "PrometheusRule", "rel-hirewire")["spec"]["groups"] for rule in group["rules"]
             if rule["annotations"]["runbook_url"] != f"https://git.example.com/hirewire/runbooks/{rule['alert']}.md"])),
    ("no dashboards", PRODUCTION, {}, lambda f: equal([e for e in f if "dashboard" in e["metadata"]["name"]], [])),
    ("dashboards for Grafana's sidecar", SMALL, {"monitoring": {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Hirewire"}}}}, lambda f: [
        (equal(each["metadata"]["labels"]["grafana_dashboard"], "1"), equal(each["metadata"]["annotations"]["grafana_folder"], "Hirewire"),
         equal(json.loads(each["data"][f"hirewire-{name}.json"])["uid"], f"hirewire-{name}"))
        for name in ("overview", "connections", "kafka") for each in [one(f, "ConfigMap", f"rel-hirewire-dashboard-{name}")]]),
    ("Strimzi", KAFKA, STRIMZI, all_of(
        lambda f: equal(one(f, "KafkaTopic", "rel-hirewire-ats.dlq.route.onboarding.v1")["spec"], {
            "topicName": "test.ats.dlq.route.onboarding.v1", "partitions": 6,
            "config": {"cleanup.policy": "delete", "retention.ms": "7776000000", "max.message.bytes": "16777216"}}),
        lambda f: equal({each["metadata"]["labels"]["strimzi.io/cluster"] for each in f if each["kind"].startswith("Kafka")}, {"main"}),
        # A topic that went with the release would take its records with it.
        lambda f: equal({each["metadata"]["annotations"]["helm.sh/resource-policy"] for each in f if each["kind"] == "KafkaTopic"}, {"keep"}),
        lambda f: equal([each["metadata"]["name"] for each in f if each["kind"] == "KafkaUser"],
                        [f"rel-hirewire-{user}" for user in ("webhook", "poll", "normalize", "route", "test", "operator")]),
        lambda f: lacks([each["metadata"]["name"] for each in f if each["kind"] == "Job"], "rel-hirewire-bootstrap"),
        # Jobs of who operates: never due, with a certificate of their own, and with what Kafka and the registry need alone.
        lambda f: equal(one(f, "CronJob", "rel-hirewire-operator")["spec"]["suspend"], True),
        lambda f: equal([volume["secret"]["secretName"] for volume in one(f, "CronJob", "rel-hirewire-operator")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"] if "secret" in volume],
                        ["rel-hirewire-operator", "main-cluster-ca-cert"]),
        lambda f: equal(sorted(port["port"] for rule in one(f, "NetworkPolicy", "rel-hirewire-operator")["spec"]["egress"] for port in rule["ports"]), [8081, 9092]),
        # Each its own certificate, at the same place.
        lambda f: contains(pod(f, "route")["volumes"], {"name": "strimzi-user", "secret": {"secretName": "rel-hirewire-route", "defaultMode": 0o440}}),
        lambda f: contains(pod(f, "poll")["volumes"], {"name": "strimzi-ca", "secret": {
            "secretName": "main-cluster-ca-cert", "items": [{"key": "ca.crt", "path": "ca.crt"}], "defaultMode": 0o440}}),
        lambda f: contains(config(f), 'certificate_file: "/secrets/strimzi-user/user.crt"'))),
    ("Strimzi, a CA of one's own, copies, a vendor and a rule more", KAFKA, {
        "config": {"kafka": {"replication": 3, "tls": {"ca_file": "/secrets/kafka-ca/ca.crt"}}}, "secrets": {"files": ["acme-greenhouse", "onboarding", "trial", "kafka-ca"]}, "strimzi": {
            "enabled": True, "cluster": "main", "extraVendors": ["own-ats"],
            "extraAcls": {"route": [{"resource": {"type": "topic", "name": "hr.", "patternType": "prefix"}, "operations": ["Write"]}]}}}, all_of(
        lambda f: equal(one(f, "KafkaTopic", "rel-hirewire-ats.raw.own-ats.v1")["spec"]["replicas"], 3),
        lambda f: contains(config(f), 'ca_file: "/secrets/kafka-ca/ca.crt"'),
        lambda f: lacks([volume["name"] for volume in pod(f, "poll")["volumes"]], "strimzi-ca"),
        lambda f: equal(one(f, "KafkaUser", "rel-hirewire-route")["spec"]["authorization"]["acls"][-1]["resource"]["name"], "hr."))),
    ("Strimzi, nobody who operates", KAFKA, {"strimzi": {**STRIMZI["strimzi"], "operator": False}}, all_of(
        lambda f: lacks(kinds(f), "CronJob"),
        lambda f: lacks([each["metadata"]["name"] for each in f], "rel-hirewire-operator"))),
    ("Strimzi, a sink that is a topic", KAFKA, {**STRIMZI, "config": {
        "sinks": {"moves": {"system": "stream", "kafka": {"topic": "hr.moves"}}}, "routes": {"moves": {"sink": "moves", "entity": "stage-change"}}}}, lambda f: contains(
        one(f, "KafkaUser", "rel-hirewire-route")["spec"]["authorization"]["acls"],
        {"resource": {"type": "topic", "name": "hr.moves", "patternType": "literal"}, "operations": ["Write", "DescribeConfigs"]})),
    ("sinks of all kinds, and the way to them", KAFKA, {"config": {"sinks": {
        "mail": {"system": "notice", "smtp": {"host": "smtp.example.com", "from": "a@example.com", "to": ["b@example.com"]}},
        "direct": {"system": "notice", "smtp": {"host": "smtp.example.com", "tls": "implicit", "from": "a@example.com", "to": ["b@example.com"]}},
        "other": {"system": "stream", "kafka": {"topic": "x", "cluster": {"bootstrap_servers": "k1.example.com:9192,k2.example.com:9192", "tls": {}, "allow": {"networks": ["10.9.0.0/16"]}}}},
        "asked": {"system": "onboarding", "http": {"url": "https://hr.example.com", "auth": {"oauth": {
            "token_url": "https://hr.example.com:8444/token", "client_id": "c", "client_secret": {"file": "/secrets/onboarding/client"}}}}}}}}, all_of(
        lambda f: equal([port["port"] for port in one(f, "NetworkPolicy", "rel-hirewire-route")["spec"]["egress"][-1]["ports"]], [443, 465, 587, 8444, 9192]),
        lambda f: contains(one(f, "NetworkPolicy", "rel-hirewire-route")["spec"]["egress"][-1]["to"], {"ipBlock": {"cidr": "10.9.0.0/16"}}))),
    ("files on a volume of one pod", KAFKA, {"route": {"replicas": 1, "state": {"type": "persistent"}}, "config": {"sinks": {
        "tables": {"system": "analytics", "parquet": {"path": "/var/lib/hirewire/tables"}}, "lines": {"system": "stream", "file": {"path": "/var/lib/hirewire/lines"}}}}}, lambda f: None),
    ("a walk with helm test", KAFKA, {"networkPolicy": {"webhookFrom": [{"podSelector": {}}]}}, all_of(
        lambda f: equal(container(f, "test-walk", "Job")["args"], [
            "walk", "trial", "--config", "/etc/hirewire/hirewire.yaml", "--webhooks", "http://rel-hirewire-webhook:80", "--within", "90s"]),
        # It knows the secret of its own connection, and no other.
        lambda f: equal([volume["secret"]["secretName"] for volume in pod(f, "test-walk", "Job")["volumes"] if "secret" in volume], ["trial"]),
        lambda f: equal(sorted(port["port"] for rule in one(f, "NetworkPolicy", "rel-hirewire-test")["spec"]["egress"] for port in rule["ports"]), [8080, 8081, 9092]),
        lambda f: contains(one(f, "NetworkPolicy", "rel-hirewire-webhook")["spec"]["ingress"][0]["from"], {"podSelector": {"matchLabels": {
            "app.kubernetes.io/name": "hirewire", "app.kubernetes.io/instance": "rel", "app.kubernetes.io/component": "test"}}}))),
    ("a walk with helm test, of one pod", SMALL, {"networkPolicy": {"webhookFrom": [{"podSelector": {}}]}}, all_of(
        lambda f: equal(container(f, "test-walk", "Job")["args"], ["walk", "trial", "--through", "http://rel-hirewire-state:9644", "--within", "90s"]),
        # The pod has the secret; who asks it needs none.
        lambda f: equal([volume for volume in pod(f, "test-walk", "Job")["volumes"] if "secret" in volume], []),
        lambda f: contains(config(f), "walk: \"trial\""),
        lambda f: equal([port["port"] for rule in one(f, "NetworkPolicy", "rel-hirewire-test")["spec"]["egress"] for port in rule["ports"]], [9644]),
        lambda f: contains(one(f, "NetworkPolicy", "rel-hirewire-embedded")["spec"]["ingress"], {"ports": [{"port": 9644, "protocol": "TCP"}], "from": [{"podSelector": {"matchLabels": {
            "app.kubernetes.io/name": "hirewire", "app.kubernetes.io/instance": "rel", "app.kubernetes.io/component": "test"}}}]}))),
    ("one pod without a walk", SMALL, {"tests": {"walk": ""}}, all_of(
        lambda f: lacks(kinds(f), "Job"), lambda f: lacks(config(f), "walk:"),
        lambda f: lacks([each["metadata"]["name"] for each in f if each["kind"] == "NetworkPolicy"], "rel-hirewire-test"))),
    ("one pod without tests", SMALL, {"tests": {"enabled": False}}, all_of(
        lambda f: lacks(kinds(f), "Job"), lambda f: lacks(config(f), "walk:"),
        lambda f: lacks([each["metadata"]["name"] for each in f if each["kind"] == "NetworkPolicy"], "rel-hirewire-test"))),
    ("no bootstrap, no tests", KAFKA, {"bootstrap": {"enabled": False}, "tests": {"enabled": False}}, lambda f: lacks(kinds(f), "Job")),
    ("bootstrap with a registry that is there before", KAFKA, {"registry": {"enabled": False}, "config": {"registry": {"url": "http://schemas.example.com:8085"}}}, all_of(
        lambda f: equal(container(f, "bootstrap", "Job")["args"], ["topics", "apply", "--config", "/etc/hirewire/hirewire.yaml", "--schemas"]),
        lambda f: contains([port["port"] for rule in one(f, "NetworkPolicy", "rel-hirewire-bootstrap")["spec"]["egress"] for port in rule["ports"]], 8085))),
    ("a registry that asks who comes", PRODUCTION, {
        "config": {"registry": {"url": "https://schemas.example.com", "basic_auth": {"username": "hirewire", "password": {"env": "REGISTRY_PASSWORD"}}, "tls": {"ca_file": "/secrets/registry-ca/ca.crt"}}},
        "secrets": {"files": ["kafka-ca", "acme-greenhouse", "onboarding", "payroll", "analytics-db", "registry-ca"], "env": [
            {"name": "KAFKA_PASSWORD", "secret": "kafka-user", "key": "password"}, {"name": "REGISTRY_PASSWORD", "secret": "registry-user", "key": "password"}]}}, all_of(*(
        lambda f, role=role, kind=kind: (
            contains([entry["name"] for entry in container(f, role, kind)["env"]], "REGISTRY_PASSWORD"),
            contains([mount["mountPath"] for mount in container(f, role, kind)["volumeMounts"]], "/secrets/registry-ca"))
        for role, kind in (("webhook", "Deployment"), ("poll", "Deployment"), ("normalize", "Deployment"), ("route", "Deployment"), ("bootstrap", "Job"))))),
    ("bootstrap with the registry of the release", KAFKA, {"registry": {"enabled": True}}, all_of(
        lambda f: equal(container(f, "bootstrap", "Job")["args"], ["topics", "apply", "--config", "/etc/hirewire/hirewire.yaml"]),
        lambda f: lacks([port["port"] for rule in one(f, "NetworkPolicy", "rel-hirewire-bootstrap")["spec"]["egress"] for port in rule["ports"]], 8081))),
    ("helm test", KAFKA, {}, lambda f: equal(
        sorted(e["spec"]["template"]["spec"]["containers"][0]["args"][0] for e in f if e["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"), ["check", "topics", "walk"])),
    ("helm test without a walk", PRODUCTION, {}, lambda f: equal(
        sorted(e["spec"]["template"]["spec"]["containers"][0]["args"][0] for e in f if e["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"), ["check", "topics"])),
    ("accounts of one's own", KAFKA, {"defaults": {"serviceAccount": {"create": False, "name": "mine"}}}, all_of(
        lambda f: equal(pod(f, "webhook")["serviceAccountName"], "mine"),
        lambda f: equal([e["metadata"]["name"] for e in f if e["kind"] == "ServiceAccount"], ["rel-hirewire-bootstrap"]))),
    ("labels and annotations of all", SMALL, {"commonLabels": {"team": "x"}, "commonAnnotations": {"note": "y"}}, lambda f: [
        (equal(each["metadata"]["labels"]["team"], "x"), equal(each["metadata"]["annotations"]["note"], "y")) for each in f]),
    ("names", SMALL, {"fullnameOverride": "hw", "nameOverride": "n"}, lambda f: equal(one(f, "StatefulSet", "hw-embedded")["metadata"]["labels"]["app.kubernetes.io/name"], "n")),
    ("objects of one's own", SMALL, {"extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a-{{ .Release.Name }}"}}, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"]}, all_of(
        lambda f: one(f, "ConfigMap", "a-rel"), lambda f: one(f, "ConfigMap", "b"))),
    ("restart on changed secrets", SMALL, {"secrets": {"restartOnChange": True}}, lambda f: contains(
        one(f, "StatefulSet", "rel-hirewire-embedded")["spec"]["template"]["metadata"]["annotations"], "checksum/secrets")),
    ("what is logged, and how", KAFKA, {"log": {"filter": "warn", "format": "human"}}, lambda f: [
        contains(container(f, role)["env"], {"name": name, "value": value})
        for role in ("webhook", "poll", "normalize", "route") for name, value in (("HIREWIRE_LOG", "warn"), ("HIREWIRE_LOG_FORMAT", "human"))]),
    ("what a parent chart hands down", SMALL, {"global": {"x": 1}}, lambda f: None),
]

HTTP = {"http": {"url": "https://a.example.com"}}
REFUSED = [
    # The schema: unknown keys, types, ranges, choices.
    ([], {"mod": "kafka"}, "mod"),
    ([], {"mode": "cluster"}, "mode"),
    ([], {"image": {"repositry": "x"}}, "repositry"),
    ([], {"image": {"digest": "sha256:abc"}}, "digest"),
    ([], {"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ([], {"imagePullSecrets": ["a"]}, "imagePullSecrets"),
    ([], {"listenAddress": "127.0.0.1"}, "listenAddress"),
    ([], {"ports": {"webhook": 80}}, "webhook"),
    ([], {"webhook": {"replicas": "two"}}, "replicas"),
    ([], {"webhook": {"replicas": -1}}, "replicas"),
    ([], {"webhook": {"keda": {"enabled": True}}}, "keda"),
    ([], {"route": {"podsecurityContext": {}}}, "podsecurityContext"),
    ([], {"normalize": {"state": {"size": "5GB"}}}, "size"),
    ([], {"normalize": {"state": {"type": "memory"}}}, "type"),
    ([], {"registry": {"state": {"type": "ephemeral"}}}, "type"),
    ([], {"defaults": {"topologySpread": {"whenUnsatisfiable": "Never"}}}, "whenUnsatisfiable"),
    ([], {"defaults": {"probes": {"startup": {"limitSeconds": 1}}}}, "limitSeconds"),
    ([], {"secrets": {"files": ["Has Space"]}}, "files"),
    ([], {"secrets": {"env": [{"name": "A", "secret": "b"}]}}, "env"),
    ([], {"overlays": {"a/b.yaml": "x"}}, "overlays"),
    ([], {"monitoring": {"scrape": "yes"}}, "scrape"),
    ([], {"monitoring": {"interval": "30"}}, "interval"),
    ([], {"monitoring": {"runbooks": "docs/runbooks"}}, "runbooks"),
    ([], {"service": {"type": "ExternalName"}}, "type"),
    ([], {"ingress": {"host": "a"}}, "host"),
    ([], {"gateway": {"parentRefs": [{"namespace": "a"}]}}, "parentRefs"),
    ([], {"networkPolicy": {"kafka": {"ports": ["9092"]}}}, "ports"),
    ([], {"log": {"filter": ""}}, "filter"),
    ([], {"log": {"format": "text"}}, "format"),
    # The settings of Hirewire itself.
    ([], {"config": {"kafka": {"partitons": 3}}}, "partitons"),
    ([], {"config": {"kafka": {"partitions": 0}}}, "partitions"),
    ([], {"config": {"admin": {"listen": "0.0.0.0:1"}}}, "admin"),
    ([], {"config": {"data_dir": "/x"}}, "data_dir"),
    ([], {"config": {"ingest": {"listen": "0.0.0.0:1"}}}, "listen"),
    ([], {"config": {"ingest": {"body_timeout": "10"}}}, "body_timeout"),
    ([], {"config": {"ingest": {"max_body_bytes": "10MB"}}}, "max_body_bytes"),
    ([], {"config": {"connections": {"a": {"vendor": "greenhouse"}}}}, "tenant"),
    ([], {"config": {"connections": {"a": {"tenant": "t", "vendor": "greenhouse", "webhook": {"secrets": ["hunter2"]}}}}}, "secrets"),
    ([], {"config": {"connections": {"a": {"tenant": "t", "vendor": "greenhouse", "webhook": {"secrets": []}}}}}, "secrets"),
    ([], {"config": {"sinks": {"a": {"htp": {}}}}}, "htp"),
    ([], {"config": {"sinks": {"a": {"http": {"timeout": "5s"}}}}}, "url"),
    ([], {"config": {"kafka": {"sasl": {"mechanism": "GSSAPI", "username": "u", "password": {"env": "P"}}}}}, "mechanism"),
    ([], {"config": {"routes": {"a": {"form": "now"}}}}, "form"),
    # What a schema cannot say.
    ([], {"mode": "kafka"}, "config.kafka.bootstrap_servers"),
    ([], {"mode": "kafka", "config": {"kafka": {"bootstrap_servers": "a:9092"}}}, "config.registry.url"),
    (KAFKA, {"config": {"kafka": {"bootstrap_servers": "https://a"}}}, "config.kafka.bootstrap_servers"),
    (KAFKA, {"config": {"registry": {"url": "http://a"}}}, "config.registry.url"),
    (PRODUCTION, {"config": {"registry": {"url": "registry:8081"}}}, "config.registry.url"),
    (SMALL, {"config": {"kafka": {"bootstrap_servers": "a:9092"}}}, "config.kafka.bootstrap_servers"),
    (SMALL, {"config": {"registry": {"url": "http://a"}}}, "config.registry"),
    (SMALL, {"existingConfigMap": "mine"}, "existingConfigMap"),
    (SMALL, {"secrets": {"files": []}}, "secrets.files"),
    (PRODUCTION, {"secrets": {"env": []}}, "secrets.env"),
    (SMALL, {"secrets": {"files": ["acme-greenhouse", "unused"]}}, "secrets.files"),
    (SMALL, {"secrets": {"env": [{"name": "UNUSED", "secret": "a", "key": "b"}]}}, "secrets.env"),
    (PRODUCTION, {"overlays": {"acme.yaml": None}}, "overlays"),
    (SMALL, {"config": {"routes": {"a": {"sink": "nobody"}}}}, "config.routes.a.sink"),
    (SMALL, {"config": {"sinks": {"analytics": HTTP}}}, "config.sinks.analytics"),
    (SMALL, {"config": {"sinks": {"analytics": {"sqlite": {"path": "a.sqlite"}}}}}, "config.sinks.analytics.sqlite.path"),
    (KAFKA, {"config": {"sinks": {"a": {"sqlite": {"path": "/var/lib/hirewire/a"}}}}}, "config.sinks.a.sqlite"),
    (KAFKA, {name: {"enabled": False} for name in ("webhook", "poll", "normalize", "route", "registry")} | {"config": {"registry": {"url": "http://a"}}}, "webhook.enabled"),
    (KAFKA, {"normalize": {"keda": {"enabled": True, "maxReplicas": 7}}}, "normalize.keda.maxReplicas"),
    (KAFKA, {"route": {"keda": {"enabled": True, "minReplicas": 9}}}, "route.keda.minReplicas"),
    (KAFKA, {"webhook": {"autoscaling": {"enabled": True, "minReplicas": 9}}}, "webhook.autoscaling.minReplicas"),
    ([], {"route": {"groups": {"a": {"replicas": 1}}}}, "sinks"),
    ([], {"route": {"groups": {"a": {"sinks": ["x"], "replcas": 1}}}}, "replcas"),
    ([], {"route": {"groups": {"A_b": {"sinks": ["x"]}}}}, "A_b"),
    (SMALL, {"route": {"groups": {"a": {"sinks": ["analytics"]}}}}, "route.groups.a"),
    (PRODUCTION, {"route": {"groups": {"a": {"sinks": ["payroll", "nobody"]}}}}, 'there is no sink "nobody"'),
    (PRODUCTION, {"route": {"groups": {"a": {"sinks": ["payroll"]}, "b": {"sinks": ["payroll", "onboarding", "analytics"]}}}}, "route.groups.b.sinks"),
    (PRODUCTION, {"route": {"groups": {"a": {"sinks": ["payroll", "onboarding"]}}}}, 'no group has the sink "analytics"'),
    (PRODUCTION, {"route": {"groups": {"pay": {"sinks": ["payroll", "onboarding", "analytics"], "keda": {"enabled": True, "maxReplicas": 99}}}}}, "route.groups.pay.keda.maxReplicas"),
    (PRODUCTION, {"route": {"groups": {"pay": {"sinks": ["payroll", "onboarding", "analytics"], "terminationGracePeriodSeconds": 10}}}}, "route.groups.pay.terminationGracePeriodSeconds"),
    (KAFKA, {"webhook": {"terminationGracePeriodSeconds": 10}}, "webhook.terminationGracePeriodSeconds"),
    (SMALL, {"ingress": {"enabled": True}}, "ingress.hosts"),
    (SMALL, {"gateway": {"enabled": True}}, "gateway.parentRefs"),
    (KAFKA, {"webhook": {"enabled": False}, "ingress": {"enabled": True, "hosts": ["a"]}}, "webhook.enabled"),
    (SMALL, {"monitoring": {"scrape": "PodMonitor"}}, "networkPolicy.metricsFrom"),
    (SMALL, {"ports": {"webhook": 9644}}, "ports"),
    (SMALL, STRIMZI, "strimzi.enabled"),
    (KAFKA, {"strimzi": {"enabled": True}}, "strimzi.cluster"),
    (PRODUCTION, STRIMZI, "config.kafka.sasl"),
    (KAFKA, {**STRIMZI, "existingConfigMap": "mine"}, "strimzi.enabled"),
    (KAFKA, {**STRIMZI, "config": {"kafka": {"tls": {"certificate_file": "/secrets/onboarding/x"}}}}, "config.kafka.tls.certificate_file"),
    (KAFKA, {"strimzi": {"extraAcls": {"rout": []}}}, "rout"),
    (KAFKA, {"tests": {"walk": "nobody"}}, "tests.walk"),
    (KAFKA, {"tests": {"walk": "acme-lever"}, "config": {"connections": {"acme-lever": {"tenant": "a", "vendor": "lever"}}}}, "tests.walk"),
    (KAFKA, {"config": {"sinks": {"a": {"parquet": {"path": "/var/lib/hirewire/a"}}}}}, "config.sinks.a.parquet"),
    (SMALL, {"config": {"sinks": {"a": {"file": {"path": "/tmp/a"}}}}}, "config.sinks.a.file.path"),
    (SMALL, {"ports": {"webhook": 9092}}, "ports"),
]

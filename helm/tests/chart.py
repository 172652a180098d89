"""Renders the chart with Helm and looks at what comes out: what holds for every pod of a render, which the suites of tests/unit cannot say.

`helm/check` runs it with the tools in place. Variables: HELM (the binary), HIREWIRE (a built `hirewire`, optional: every rendered configuration is
then checked by it), RENDERED (a folder that gets every render, for kubeconform), UPDATE_GOLDEN=1 (writes tests/golden anew).
"""
import concurrent.futures
import difflib
import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from mutations import MUTATIONS
from suites import REFUSED, VARIANTS

CHART = Path(__file__).resolve().parent.parent
CERTIFICATE = CHART.parent / "lib" / "broker" / "tests" / "tls" / "certificate.pem"
GOLDEN = Path(__file__).resolve().parent / "golden"
PRESETS = ["values-small.yaml", "values-kafka.yaml", "values-production.yaml"]
HELM = os.environ.get("HELM", "helm")
API = ["--kube-version", "1.34.0"]


def template(files=(), values=None, chart=CHART):
    """The text of a render, or a refusal as an exception with Helm's message."""
    command = [HELM, "template", "rel", str(chart), "--namespace", "hirewire", *API]
    for file in files:
        command += ["-f", str(chart / file)]
    text = json.dumps(values or {})
    done = subprocess.run([*command, "-f", "-"], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


class Refused(Exception):
    pass


def objects(text):
    return [found for found in yaml.safe_load_all(text) if found]


def render(files=(), values=None, chart=CHART):
    return objects(template(files, values, chart))


def of_kind(found, kind):
    return [each for each in found if each["kind"] == kind]


def one(found, kind, name):
    matching = [each for each in of_kind(found, kind) if each["metadata"]["name"] == name]
    assert len(matching) == 1, f"{kind} {name}: {[(e['kind'], e['metadata']['name']) for e in found]}"
    return matching[0]


def pods(found):
    """Every pod that the objects make: (name of its owner, labels, spec)."""
    for each in found:
        if each["kind"] in ("Deployment", "StatefulSet", "Job", "CronJob"):
            template = (each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"])["template"]
            yield each["metadata"]["name"], template["metadata"]["labels"], template["spec"]


# What is claimed of every pod. Each returns what is wrong; tests/mutations.py takes each defence away and must see it here.
def insecure(found):
    for name, _, spec in pods(found):
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True:
            yield f"{name}: may run as root"
        if context.get("runAsUser", 0) == 0 or context.get("runAsGroup", 0) == 0:
            yield f"{name}: runs as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name}: gets a token"
        if spec.get("enableServiceLinks") is not False:
            yield f"{name}: gets other services as variables"
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name}: uses the host's namespaces"
        for container in spec.get("initContainers", []) + spec["containers"]:
            context = container.get("securityContext", {})
            if context.get("allowPrivilegeEscalation") is not False:
                yield f"{name}: may gain privileges"
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{name}: can write to its root"
            if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
                yield f"{name}: keeps capabilities"
            if context.get("privileged"):
                yield f"{name}: is privileged"
            if "memory" not in container.get("resources", {}).get("limits", {}):
                yield f"{name}: has no limit of memory"
            if re.search(r":latest$|^[^:@]+$", container["image"]):
                yield f"{name}: an image without a version"
        for volume in spec.get("volumes", []):
            kind = next(key for key in volume if key != "name")
            if kind not in ("emptyDir", "projected", "secret", "configMap", "persistentVolumeClaim"):
                yield f"{name}: a volume of the kind {kind}"
            if kind == "secret" and volume["secret"].get("defaultMode") != 0o440:
                yield f"{name}: others may read {volume['name']}"
            if kind == "emptyDir" and "sizeLimit" not in volume["emptyDir"]:
                yield f"{name}: the volume {volume['name']} has no limit"
    for account in of_kind(found, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{account['metadata']['name']}: hands out a token"
    for each in found:
        if each["kind"] in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Secret"):
            yield f"{each['kind']} {each['metadata']['name']}: the chart makes none"


# What each component may know. A service that is broken into knows no other's secrets.
SECRETS = {
    "webhook": {"kafka-ca", "kafka-user", "acme-greenhouse"},
    "poll": {"kafka-ca", "kafka-user", "acme-greenhouse"},
    "normalize": {"kafka-ca", "kafka-user"},
    "route": {"kafka-ca", "kafka-user", "onboarding", "payroll", "analytics-db"},
    "bootstrap": {"kafka-ca", "kafka-user"},
}


def too_knowing(found):
    for name, labels, spec in pods(found):
        known = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
        for container in spec["containers"]:
            known |= {entry["valueFrom"]["secretKeyRef"]["name"] for entry in container.get("env", []) if "valueFrom" in entry}
        wanted = SECRETS.get(labels["app.kubernetes.io/component"])
        # The test pod that runs `hirewire check` checks all of them.
        if wanted and known != wanted:
            yield f"{name}: gets the secrets {sorted(known)}, should get {sorted(wanted)}"


# By preset and component: port and who may connect to it, port and what it may connect to. Name servers are everybody's.
OPEN = {
    "values-production.yaml": {
        "webhook": ("8080 gateways, 9644 monitoring", "9093 10.1.0.0/24, 443 10.1.1.0/24"),
        "poll": ("9644 monitoring", "9093 10.1.0.0/24, 443 10.1.1.0/24, 443 public"),
        "normalize": ("9644 monitoring", "9093 10.1.0.0/24, 443 10.1.1.0/24"),
        "route": ("9644 monitoring", "9093 10.1.0.0/24, 443 10.1.1.0/24, 443 public, 5432 public, 443 10.20.0.0/16, 5432 10.20.0.0/16"),
        "bootstrap": ("", "9093 10.1.0.0/24, 443 10.1.1.0/24"),
        "test": ("", "9093 10.1.0.0/24"),
    },
    "values-kafka.yaml": {
        "webhook": ("8080 anybody", "9092 anybody, 8081 registry"),
        "poll": ("", "9092 anybody, 8081 registry, 443 public"),
        "normalize": ("", "9092 anybody, 8081 registry"),
        "route": ("", "9092 anybody, 8081 registry, 443 public"),
        "registry": ("8081 release", ""),
        "bootstrap": ("", "9092 anybody"),
        "test": ("", "9092 anybody, 8081 registry, 8080 webhook"),
    },
    "values-small.yaml": {"embedded": ("8080 anybody, 9644 test", "443 public"), "test": ("", "9644 embedded")},
}


def peer(found):
    """Whom a peer of a rule names: a network, a namespace, a component of the release, `public` addresses, or `anybody`."""
    block, pods = found.get("ipBlock", {}), found.get("podSelector", {}).get("matchLabels", {})
    if block.get("cidr") in ("0.0.0.0/0", "::/0"):
        return "public" if block.get("except") else "anybody"
    namespace = found.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
    own = pods.get("app.kubernetes.io/name") == "hirewire" and pods.get("app.kubernetes.io/instance") == "rel"
    return block.get("cidr") or namespace or (pods.get("app.kubernetes.io/component", "release") if own else "anybody")


def too_open(found, table):
    """What policies let through beyond the table, or keep from what is needed. A pod that no policy selects is open."""
    policies = of_kind(found, "NetworkPolicy")
    everybody = {"app.kubernetes.io/name": "hirewire", "app.kubernetes.io/instance": "rel"}
    deny = {"podSelector": {"matchLabels": everybody}, "policyTypes": ["Ingress", "Egress"]}
    if not any(policy["spec"] == deny for policy in policies):
        yield "nothing denies all pods of the release what is not named"
    for name, labels, _ in pods(found):
        chosen = [p for p in policies if p["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()]
        for index, (direction, peers) in enumerate((("Ingress", "from"), ("Egress", "to"))):
            closed = [p for p in chosen if direction in p["spec"]["policyTypes"]]
            if not closed:
                yield f"{name}: no policy of {direction}"
                continue
            wanted = set(filter(None, table[labels["app.kubernetes.io/component"]][index].split(", ")))
            if direction == "Egress":
                wanted.add("53 kube-system")
            let = set()
            for rule in [rule for p in closed for rule in p["spec"].get(direction.lower()) or []]:
                ports = {port["port"] for port in rule.get("ports", [])} or {"any port"}
                let |= {f"{port} {whom}" for port in ports for whom in map(peer, rule.get(peers, [{}]))}
            yield from (f"{name}: {direction} {each} is open" for each in sorted(let - wanted))
            yield from (f"{name}: {direction} {each} is shut" for each in sorted(wanted - let))


def broken_dashboards(found):
    for each in of_kind(found, "ConfigMap"):
        for name, text in each.get("data", {}).items():
            if name.endswith(".json"):
                try:
                    json.loads(text)
                except ValueError as error:
                    yield f"{name}: {error}"


def selectors(found):
    """What Kubernetes refuses to change in an upgrade."""
    return {
        (each["kind"], each["metadata"]["name"]): {
            key: each["spec"].get(key)
            for key in ("selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy", "clusterIP")
            if each["kind"] != "Service" or key == "clusterIP"
        }
        for each in found
        if each["kind"] in ("Deployment", "StatefulSet", "Service")
    }


def keep(name, text):
    folder = os.environ.get("RENDERED")
    if folder:
        (Path(folder) / f"{name}.yaml").write_text(text)


def in_parallel(work, items):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, items))


class Presets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.texts = dict(zip(PRESETS, in_parallel(lambda preset: template([preset]), PRESETS)))
        for preset, text in cls.texts.items():
            keep(preset.removesuffix(".yaml"), text)

    def test_every_pod_is_as_restricted_as_claimed(self):
        for preset, text in self.texts.items():
            self.assertEqual([], list(insecure(objects(text))), preset)

    def test_pods_reach_and_are_reached_as_the_table_says_and_no_more(self):
        for preset, table in OPEN.items():
            self.assertEqual([], list(too_open(objects(self.texts[preset]), table)), preset)

    def test_pods_know_the_secrets_of_their_own_service_alone(self):
        self.assertEqual([], list(too_knowing(objects(self.texts["values-production.yaml"]))))

    def test_names_that_pods_mention_are_made_or_are_secrets_of_the_user(self):
        for preset, text in self.texts.items():
            found = objects(text)
            made = {(each["kind"], each["metadata"]["name"]) for each in found}
            for name, _, spec in pods(found):
                account = spec["serviceAccountName"]
                self.assertTrue(account == "default" or ("ServiceAccount", account) in made, f"{preset} {name} {account}")
                for volume in spec["volumes"]:
                    for source in volume.get("projected", {}).get("sources", []):
                        self.assertIn(("ConfigMap", source["configMap"]["name"]), made, f"{preset} {name}")
            for each in of_kind(found, "HorizontalPodAutoscaler") + of_kind(found, "ScaledObject"):
                target = each["spec"]["scaleTargetRef"]
                self.assertIn((target["kind"], target["name"]), made)

    def test_what_a_hook_needs_is_made_by_the_hook(self):
        for preset in ("values-kafka.yaml", "values-production.yaml"):
            found = objects(self.texts[preset])
            job = one(found, "Job", "rel-hirewire-bootstrap")
            spec = job["spec"]["template"]["spec"]
            needed = [("ServiceAccount", spec["serviceAccountName"])]
            needed += [("ConfigMap", s["configMap"]["name"]) for v in spec["volumes"] for s in v.get("projected", {}).get("sources", [])]
            needed += [("NetworkPolicy", "rel-hirewire-bootstrap")]
            for kind, name in needed:
                annotations = one(found, kind, name)["metadata"]["annotations"]
                self.assertEqual("pre-install,pre-upgrade", annotations["helm.sh/hook"])
                self.assertLess(int(annotations["helm.sh/hook-weight"]), int(job["metadata"]["annotations"].get("helm.sh/hook-weight", 0)))

    def test_renders_are_as_before(self):
        for preset, text in self.texts.items():
            file = GOLDEN / preset.replace("values-", "")
            if os.environ.get("UPDATE_GOLDEN"):
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
            before = file.read_text()
            diff = "".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), f"golden/{file.name}", "rendered now", n=4))
            self.assertTrue(before == text, f"{preset} renders otherwise than before; if that is meant: UPDATE_GOLDEN=1 helm/check\n{diff}")

    def test_an_upgrade_changes_no_immutable_field(self):
        with tempfile.TemporaryDirectory() as folder:
            after = copy_chart(folder)
            text = (after / "Chart.yaml").read_text()
            (after / "Chart.yaml").write_text(re.sub(r"(?m)^(version|appVersion): .*", r"\1: 9.9.9", text))
            changed = {"commonLabels": {"new": "label"}, "log": {"filter": "debug"}, "defaults": {"podLabels": {"more": "labels"}}}
            for preset, text in self.texts.items():
                self.assertEqual(selectors(objects(text)), selectors(render([preset], changed, after)), preset)

    def test_the_binary_accepts_every_rendered_configuration(self):
        if not os.environ.get("HIREWIRE"):
            self.skipTest("HIREWIRE names no binary")
        for preset, text in self.texts.items():
            self.assertEqual("", checked_by_the_binary(objects(text)), preset)


class Variants(unittest.TestCase):
    """What tests/unit renders. What it must be is said there."""

    def test_each_variant_is_kept_for_kubeconform_and_accepted_by_the_binary(self):
        def run(variant):
            name, files, values = variant
            try:
                text = template(files, values)
            except Refused as refusal:
                return f"{name}: refused: {refusal}"
            keep(name, text)
            found = objects(text)
            if broken := list(broken_dashboards(found)):
                return f"{name}: {broken}"
            if os.environ.get("HIREWIRE") and (mistake := checked_by_the_binary(found)):
                return f"{name}: {mistake}"
            return None

        wrong = [each for each in in_parallel(run, VARIANTS) if each]
        self.assertFalse(wrong, "\n" + "\n".join(wrong))

    def test_no_suite_has_gone(self):
        names = [*(name for name, _, _ in VARIANTS), *REFUSED]
        self.assertEqual(len(set(names)), len(names), "two tests of one name")
        self.assertGreaterEqual(len(VARIANTS), 30)
        self.assertGreaterEqual(len(REFUSED), 40)


class Defences(unittest.TestCase):
    def test_each_claim_goes_red_when_its_defence_is_taken_away(self):
        with tempfile.TemporaryDirectory() as folder:
            def run(numbered):
                number, (file, old, new, complaint, *preset) = numbered
                preset = preset[0] if preset else "values-production.yaml"
                chart = copy_chart(Path(folder) / str(number))
                text = (chart / file).read_text()
                if old not in text:
                    return f"{file} has no {old!r} any more: mend tests/mutations.py"
                (chart / file).write_text(text.replace(old, new))
                found = render([preset], chart=chart)
                known = too_knowing(found) if preset == "values-production.yaml" else []
                complaints = [*insecure(found), *too_open(found, OPEN[preset]), *known]
                return None if any(complaint in each for each in complaints) else f"{file}: without {old!r} nothing says {complaint!r}: {complaints}"

            wrong = [each for each in in_parallel(run, enumerate(MUTATIONS)) if each]
            self.assertFalse(wrong, "\n" + "\n".join(wrong))


class Strimzi(unittest.TestCase):
    def test_rules_of_users_are_those_that_the_binary_names(self):
        if not os.environ.get("HIREWIRE"):
            self.skipTest("HIREWIRE names no binary")
        found = render(["values-kafka.yaml"], {"strimzi": {"enabled": True, "cluster": "main"}})
        wanted = set()
        for line in with_configuration(found, ["topics", "acls", "--principal", "{service}"]).stdout.splitlines():
            words = line.split()
            (kind, name), = ((word[2:], words[at + 1]) for at, word in enumerate(words) if word in ("--topic", "--group", "--transactional-id"))
            pattern = "prefix" if "prefixed" in words else "literal"
            wanted.add((words[words.index("--allow-principal") + 1], kind.replace("transactional-id", "transactionalId"), name, pattern, words[words.index("--operation") + 1]))
        made = {
            (user["metadata"]["labels"]["app.kubernetes.io/component"], *(rule["resource"][key] for key in ("type", "name", "patternType")), operation)
            for user in of_kind(found, "KafkaUser") for rule in user["spec"]["authorization"]["acls"] for operation in rule["operations"]
        }
        self.assertGreater(len(wanted), 50)
        self.assertEqual(wanted, {rule for rule in made if rule[0] != "test"})


class Rules(unittest.TestCase):
    def test_every_alert_is_tried_by_promtool(self):
        # promtool itself runs with --full.
        rules, tests = ((CHART / path).read_text() for path in ("rules/hirewire.yaml", "tests/rules.test.yaml"))
        alerts = re.findall(r"- alert: (\w+)", rules)
        self.assertGreaterEqual(len(alerts), 20)
        self.assertEqual(sorted(alerts), sorted(re.findall(r'alertname="(\w+)"', tests)))

    def test_every_metric_of_an_alert_exists(self):
        root = CHART.parent
        sources = [*root.glob("*/src/**/*.rs"), *root.glob("lib/*/src/**/*.rs")]
        code = "".join(path.read_text() for path in sources)
        rules = yaml.safe_load((CHART / "rules" / "hirewire.yaml").read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                for metric in re.findall(r"hirewire_[a-z_]+", rule["expr"]):
                    metric = re.sub(r"_(bucket|count|sum)$", "", metric)
                    # Services name their metrics with or without the prefix that all of theirs have.
                    own = metric.split("_", 2)[2]
                    self.assertTrue(f'"{metric}"' in code or f'"{own}"' in code, f"{rule['alert']}: nothing measures {metric}")
                for key in ("summary", "description"):
                    self.assertIn(key, rule["annotations"], rule["alert"])
                self.assertEqual(f"docs/runbooks/{rule['alert']}.md", rule["annotations"]["runbook_url"])
                self.assertIn(rule["labels"]["severity"], ("page", "ticket"))


def copy_chart(to):
    to = Path(to)
    for path in CHART.rglob("*"):
        relative = path.relative_to(CHART)
        if path.is_file() and relative.parts[0] not in ("tests", "check"):
            (to / relative).parent.mkdir(parents=True, exist_ok=True)
            (to / relative).write_bytes(path.read_bytes())
    return to


def checked_by_the_binary(found):
    """What `hirewire check` says of the rendered configuration, with secrets that are there; empty when it is right."""
    done = with_configuration(found, ["check"])
    return done.stderr if done and done.returncode != 0 else ""


def with_configuration(found, command):
    """A command of the binary, done with the rendered configuration; nothing if none is rendered."""
    data = next((each["data"] for each in of_kind(found, "ConfigMap") if "hirewire.yaml" in each.get("data", {})), None)
    if data is None:
        return None
    text = data["hirewire.yaml"]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for secret in re.findall(r"/secrets/([^\"]+)", text):
            path = folder / "secrets" / secret
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(CERTIFICATE.read_text() if path.suffix == ".crt" else "whsec_" + "QUJD" * 8)
        (folder / "overlays").mkdir()
        for name, overlay in data.items():
            if name != "hirewire.yaml":
                (folder / "overlays" / name).write_text(overlay)
        (folder / "hirewire.yaml").write_text(text.replace("/secrets/", f"{folder}/secrets/"))
        variables = {name: "value" for name in re.findall(r"env: \"([A-Z_]+)\"", text)}
        command = [os.environ["HIREWIRE"], *command, "--config", str(folder / "hirewire.yaml")]
        return subprocess.run(command, env=variables, capture_output=True, text=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)

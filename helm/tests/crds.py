#!/usr/bin/env python3
"""CustomResourceDefinitions → tests/crds/{kind}_{group}_{version}.json, in the form that kubeconform reads: `tests/crds.py FILE…`.

Descriptions are left out, unknown fields refused. Run by tests/crds.sh, when a version there changes; the outcome is committed.
"""
import json
import sys
from pathlib import Path

import yaml

WANTED = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute"}


def strict(schema):
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: strict(child) for name, child in value.items()}
        elif key != "description" and not key.startswith("x-kubernetes") and key != "default":
            out[key] = strict(value)
    free = schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in schema and "additionalProperties" not in schema and not free:
        out["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return out


for file in sys.argv[1:]:
    found = yaml.safe_load(Path(file).read_text())
    kind, group = found["spec"]["names"]["kind"], found["spec"]["group"]
    if kind not in WANTED:
        continue
    for version in found["spec"]["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        to = Path(__file__).parent / "crds" / f"{kind.lower()}_{group}_{version['name']}.json"
        to.parent.mkdir(exist_ok=True)
        to.write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")
        print(to.name, to.stat().st_size)

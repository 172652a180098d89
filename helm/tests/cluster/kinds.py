#!/usr/bin/env python3
"""CustomResourceDefinitions of the kinds in tests/crds, with their fields unchecked: for an API server that is to store such objects."""
import json
from pathlib import Path

for file in sorted((Path(__file__).parent.parent / "crds").glob("*.json")):
    names, group, version = file.stem.split("_")
    proper = {"httproute": "HTTPRoute", "kafkatopic": "KafkaTopic", "kafkauser": "KafkaUser", "podmonitor": "PodMonitor", "prometheusrule": "PrometheusRule", "scaledobject": "ScaledObject", "servicemonitor": "ServiceMonitor"}[names]
    print("---")
    print(json.dumps({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names}s.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": proper, "plural": f"{names}s", "singular": names},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
        },
    }))

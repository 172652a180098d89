#!/usr/bin/env python3
"""Kubernetes' schemas, as the package kubernetes-validate carries them, in the form that kubeconform reads: `schemas.py TO VERSION…`. Once per folder."""
import json
import sys
from pathlib import Path

import kubernetes_validate

carried = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
for version in sys.argv[2:]:
    to = Path(sys.argv[1]) / f"v{version}-standalone-strict"
    if (to / "done").exists():
        continue
    to.mkdir(parents=True, exist_ok=True)
    minor = ".".join(version.split(".")[:2])
    for file in (carried / f"v{minor}.0-local-strict").glob("*.json"):
        schema = json.loads(file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
        # With an $id of its own kubeconform finds no schema at all.
        schema.pop("$id", None)
        (to / file.name).write_text(json.dumps(schema))
    (to / "done").touch()

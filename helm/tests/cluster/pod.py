#!/usr/bin/env python3
"""`pod.py RENDERED DEFENCE`: the first pod template of a render as a Pod, without one of its defences; `none` leaves them all."""
import json
import sys

import yaml

found = next(each for each in yaml.safe_load_all(open(sys.argv[1])) if each and each["kind"] == "StatefulSet")
spec = found["spec"]["template"]["spec"]
spec["volumes"] = spec.get("volumes", []) + [{"name": "state", "emptyDir": {}}]
for context in [spec["securityContext"], *(container["securityContext"] for container in spec["containers"])]:
    context.pop(sys.argv[2], None)
print(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}))

"""The values that the suites of tests/unit try, so that tests/chart.py renders them too. What they must lead to stands in the suites, for helm-unittest."""
import json
import re
from pathlib import Path

import yaml

UNIT = Path(__file__).resolve().parent / "unit"


def tried():
    """VARIANTS as (name, files, values), each once; REFUSED as names."""
    variants, refused = {}, []
    for file in sorted(UNIT.glob("*_test.yaml")):
        suite = yaml.safe_load(file.read_text())
        for test in suite["tests"]:
            name = re.sub("[^a-z0-9]+", "-", f"{file.stem.removesuffix('_test')} {test['it']}".lower())
            if any("failedTemplate" in each for each in test["asserts"]):
                refused.append(name)
                continue
            files = [str(file.parent / each) for each in suite.get("values", []) + test.get("values", [])]
            values = {}
            for path, value in [*suite.get("set", {}).items(), *test.get("set", {}).items()]:
                for key in reversed(path.split(".")):
                    value = {key: value}
                values = merged(values, value)
            # A preset as it is, chart.py renders anyway.
            if values:
                variants.setdefault(json.dumps([files, values]), (name, files, values))
    return list(variants.values()), refused


def merged(values, more):
    """Maps are merged, all else replaced: as helm-unittest and Helm do."""
    both = {**values, **more}
    for key in values.keys() & more.keys():
        if isinstance(values[key], dict) and isinstance(more[key], dict):
            both[key] = merged(values[key], more[key])
    return both


VARIANTS, REFUSED = tried()

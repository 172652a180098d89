"""Do the tests of the alerts see? Each alert is taken away once, and each of its comparisons made always true: promtool must then go red.

    rules_see.py RULES TESTS        needs promtool and PyYAML
"""
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

RULES, TESTS = map(Path, sys.argv[1:])
ALWAYS = {">": "> -1e18", "<": "< 1e18", "==": "> -1e18"}


def mutants(rules):
    """(alert, what was done, the changed rule), one change each; nothing was done: the rule as it is, which must pass."""
    for rule in [rule for group in rules["groups"] for rule in group["rules"]]:
        yield rule["alert"], None, rule
        yield rule["alert"], "never fires", {**rule, "expr": "vector(0) > 1"}
        for found in re.finditer(r"(>|<|==) ([0-9][0-9. *]*)", rule["expr"]):
            changed = rule["expr"][: found.start()] + ALWAYS[found[1]] + " " + rule["expr"][found.end():]
            yield rule["alert"], f"without `{found[0].strip()}`", {**rule, "expr": changed}


def unseen(mutant):
    alert, what, rule = mutant
    tests = yaml.safe_load(TESTS.read_text())
    tests["rule_files"] = ["rules.yaml"]
    # The changed alert alone, since the others cost time.
    for expected in [one for test in tests["tests"] for one in test["promql_expr_test"]]:
        expected["exp_samples"] = [sample for sample in expected["exp_samples"] if f'"{alert}"' in sample["labels"]]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
        (Path(folder) / "test.yaml").write_text(yaml.safe_dump(tests))
        check = subprocess.run(["promtool", "check", "rules", f"{folder}/rules.yaml"], capture_output=True, text=True)
        if check.returncode != 0:
            return f"{alert} {what}: no rule any more: {check.stderr}"
        seen = subprocess.run(["promtool", "test", "rules", f"{folder}/test.yaml"], capture_output=True).returncode != 0
        if what is None:
            return f"{alert} by itself fails its tests" if seen else None
        return None if seen else f"{alert} {what}"


with ThreadPoolExecutor(2) as pool:
    results = list(pool.map(unseen, mutants(yaml.safe_load(RULES.read_text()))))
blind = [each for each in results if each]
print(f"{len(results)} alerts and changes of them, {len(results) - len(blind)} as they must be", file=sys.stderr)
if blind or len(results) < 60:
    sys.exit("helm/check: the tests of the alerts do not see:\n  " + "\n  ".join(blind))

#!/usr/bin/env python3
"""Runs the examples of docs/consuming.md, as they are, on what a demo has left; fails unless they tell what truly happened.

    consumers.py --hirewire BINARY [--seed N] [python] [node]

The demo's simulator writes down its true history; the examples have only brokers and registry.
"""
import argparse
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict

sys.dont_write_bytecode = True
import conformance

EXAMPLES = conformance.ROOT / "docs/examples"
PATIENCE = 120


def truth(data):
    """The true changes of each application, by time."""
    told = defaultdict(list)
    for line in (data / "simulator/truth.jsonl").read_text().splitlines():
        change = json.loads(line)
        told[str(change["application"])].append(change)
    return {application: sorted(changes, key=lambda change: change["at"]) for application, changes in told.items()}


def name(stage):
    return stage and stage["name"]


def ledger(addresses, expected, _):
    """The effective history of every application, in Python."""
    ran = subprocess.run([conformance.python(), EXAMPLES / "ledger.py", *addresses], stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)
    found = {}
    for line in map(json.loads, ran.stdout.splitlines()):
        found[line["application"]] = [(one["change"], one["from"], one["to"], one["status"]) for one in line["history"]]
    wanted = {
        application: [(one["kind"], name(one["from_stage"]), name(one["to_stage"]), one["to_status"] or "UNKNOWN") for one in changes]
        for application, changes in expected.items()
    }
    differ = [application for application in wanted.keys() | found.keys() if wanted.get(application) != found.get(application)]
    for application in sorted(differ)[:5]:
        print(f"ledger.py: application {application}\n    truth: {wanted.get(application)}\n    found: {found.get(application)}")
    return len(wanted), len(differ)


def hires(addresses, expected, work):
    """Each hire and unhire once, in JavaScript."""
    (work / "node_modules").symlink_to(conformance.node() / "node_modules")
    program = shutil.copy(EXAMPLES / "hires.mjs", work)
    wanted = sorted((one["kind"], application) for application, changes in expected.items() for one in changes if one["kind"] in ("HIRE", "UNHIRE"))
    found, enough = [], threading.Event()
    with subprocess.Popen(["node", program, *addresses], stdout=subprocess.PIPE, text=True) as process:
        def read():
            for line in map(json.loads, process.stdout):
                found.append((line["change"], line["application"]))
                if len(found) >= len(wanted):
                    enough.set()
            enough.set()
        reader = threading.Thread(target=read)
        reader.start()
        enough.wait(PATIENCE)
        # What would be one too many has the same time to come as all others had between each other.
        threading.Event().wait(2)
        process.terminate()
        reader.join()
    if sorted(found) != wanted:
        print(f"hires.mjs\n    truth: {wanted}\n    found: {sorted(found)}")
    return len(wanted), int(sorted(found) != wanted)


RUNS = {"python": ledger, "node": hires}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hirewire", required=True, help="the hirewire binary")
    parser.add_argument("--seed", default="1")
    parser.add_argument("languages", nargs="*", default=list(RUNS), help=f"some of {', '.join(RUNS)} (all)")
    options = parser.parse_args()
    binary = str(pathlib.Path(options.hirewire).resolve())
    failed = 0
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="consumers-")))
        data = work / "demo"
        with open(work / "demo.log", "w") as log:
            demo = [binary, "demo", "--applications", "40", "--seed", options.seed, "--data", data]
            if subprocess.run(demo, stdout=log, stderr=log).returncode != 0:
                conformance.die(f"the demo went wrong:\n{(work / 'demo.log').read_text()[-3000:]}")
        addresses = []
        for role in ("broker", "registry"):
            port = conformance.free_ports(1)
            command = [binary, role, "--data", str(data), "--listen", f"127.0.0.1:{port}"]
            addresses.append(conformance.serve(command, port, work / f"{role}.log", stack))
        addresses[1] = f"http://{addresses[1]}"
        expected = truth(data)
        for language in options.languages:
            compared, differ = RUNS[language](addresses, expected, work)
            if compared == 0:
                conformance.die(f"{language}: the demo left nothing to compare")
            print(f"{language}: {compared} compared, {differ} differ")
            failed += differ
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()

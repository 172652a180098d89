#!/usr/bin/env python3
"""The same cases with real clients on the embedded broker and on Apache Kafka, and on the embedded registry and on Apicurio's; fails on any
difference that is not in differences.txt.

    conformance.py [--prepare] [--kafka ADDRESS] [--registry URL] [--hirewire BINARY] [--clients a,b] [--keep DIR]

Each client program (see CLIENTS) is run twice, with an address (of a broker, or of a registry: those named registry-…) and a prefix for its
names, and prints one line per case: `name: what was observed`. The lines of the two runs are compared. What is in differences.txt and no longer differs fails too, so that
the list stays true. Logs of the clients on the embedded broker must hold none of TROUBLE.

Without --kafka it starts one (needs a JDK, 17 or newer, and Maven), without --registry an Apicurio where a client asks for it (needs Java 21 or
newer). With --hirewire its broker and its registry are the embedded ones, and the registry serves the Avro cases of both brokers; without, the
example of lib/broker is built and used, and the Avro cases and the registry's clients are left out.
With --prepare it installs what the clients need, and runs none. The clients' packages are installed into the same cache as Kafka's jars, with pinned versions. Needs python3, and for the clients that are asked for node and npm, kcat, a JDK and Maven.
"""
import argparse
import contextlib
import hashlib
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAMS = HERE / "clients"
PYTHON = ["confluent-kafka[avro,schemaregistry]==2.16.0", "fastavro==1.13.1", "aiokafka==0.14.0"]
NODE = ["kafkajs@2.2.4", "@kafkajs/confluent-schema-registry@4.1.0", "lz4js@0.2.0"]
# What a client writes when a broker's answer is not what it should be, or a broker lacks what the client cannot do without.
TROUBLE = re.compile(
    r"protocol (parse |read )?(failure|error)|PROTOUFLOW|PROTOERR|buffer underflow|BufferUnderflow|SchemaException|unsupported ?version|UNSUPPORTED_VERSION"
    r"|does not support|unknown version|Bad message|BADMSG|Unexpected error code|UnknownServerException|UNKNOWN_SERVER_ERROR|INVALID_REQUEST|correlation id", re.I)
# Said by clients where a case asks for what this broker openly does not have.
EXPECTED_TROUBLE = re.compile(r"metadata response from the cluster reported a recoverable issue")
PATIENCE = 240


def die(message):
    sys.exit(f"conformance: {message}")


def cache():
    base = os.environ.get("KAFKA_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "hirewire-kafka")
    return pathlib.Path(base)


def installed(name, pins, install):
    """A folder of the cache with these packages; made once for these very pins."""
    folder = cache() / f"{name}-{hashlib.sha256(repr(pins).encode()).hexdigest()[:12]}"
    if not (folder / "ready").exists():
        print(f"installing {name} packages into {folder} (once)", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        log = folder / "install.log"
        with open(log, "w") as out:
            for command in install(folder):
                if subprocess.run(command, stdout=out, stderr=out, cwd=folder).returncode != 0:
                    die(f"{' '.join(map(str, command))} failed:\n{log.read_text()[-2000:]}")
        (folder / "ready").touch()
    return folder


def python():
    folder = installed("python", PYTHON, lambda at: [
        [sys.executable, "-m", "venv", at / "venv"], [at / "venv/bin/pip", "install", "--quiet", *PYTHON]])
    return folder / "venv/bin/python"


def node():
    return installed("node", NODE, lambda at: [["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *NODE]])


def java():
    pom = PROGRAMS / "java/pom.xml"
    sources = sorted(PROGRAMS.glob("java/*.java"))
    pins = [pom.read_text(), *(source.read_text() for source in sources)]
    return installed("java", pins, lambda at: [
        ["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={at}/jars"],
        ["javac", "-Xlint:-removal", "-cp", f"{at}/jars/*", "-d", at / "classes", *sources]])


def java_command(main):
    at = java()
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{at}/jars/*:{at}/classes", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", main]


def python_path():
    return {"PATH": f"{python().parent}{os.pathsep}{os.environ['PATH']}"}


# Name, command, more environment.
CLIENTS = {
    "confluent-admin": lambda: ([python(), PROGRAMS / "confluent_admin.py"], {}),
    "confluent-records": lambda: ([python(), PROGRAMS / "confluent_records.py"], {}),
    "confluent-housekeeping": lambda: ([python(), PROGRAMS / "confluent_housekeeping.py"], {}),
    "aiokafka": lambda: ([python(), PROGRAMS / "aiokafka_client.py"], {}),
    "kafkajs": lambda: (["node", PROGRAMS / "kafkajs_client.mjs"], {"CLIENT_MODULES": str(node())}),
    "kcat": lambda: ([PROGRAMS / "kcat.sh"], python_path()),
    "java": lambda: (java_command("Clients"), {}),
    "java-streams": lambda: (java_command("Streams"), {}),
    "registry-http": lambda: ([python(), PROGRAMS / "registry_http.py"], {}),
    "registry-confluent": lambda: ([python(), PROGRAMS / "registry_confluent.py"], {}),
    "registry-kafkajs": lambda: (["node", PROGRAMS / "registry_kafkajs.mjs"], {"CLIENT_MODULES": str(node())}),
    "registry-java": lambda: (java_command("Schemas"), {"COMPATIBILITY_CASES": str(PROGRAMS / "java/compatibility.json")}),
}
# What a client needs on the machine beyond Python.
NEEDS = {"node": {"kafkajs", "registry-kafkajs"}, "jdk": {"java", "java-streams", "registry-java"}, "kcat": {"kcat"}}


def free_ports(count):
    """The first of so many neighbours that nobody listens on."""
    return int(subprocess.run([HERE / "free_ports", str(count)], stdout=subprocess.PIPE, check=True).stdout)


def await_port(port, process):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                die(f"{process.args} ended with {process.returncode}")
            time.sleep(0.05)
    die(f"{process.args} is not ready after 30 s")


def observe(name, bootstrap, side, registry, work):
    """Runs one client; its lines by name, in order."""
    command, environment = CLIENTS[name]()
    prefix = f"{side[0]}{random.randrange(10**6)}"
    log = work / f"{name}.{side}.log"
    arguments = [bootstrap, prefix] + ([registry] if registry else [])
    with open(log, "w") as out:
        try:
            ran = subprocess.run([*map(str, command), *arguments], stdout=subprocess.PIPE, stderr=out, text=True, timeout=PATIENCE,
                                 env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environment, cwd=work)
            code, text = ran.returncode, ran.stdout
        except subprocess.TimeoutExpired as late:
            code, text = f"no end after {PATIENCE} s", (late.stdout or b"").decode()
    seen = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    seen["(end)"] = str(code)
    trouble = [line for line in log.read_text(errors="replace").splitlines() if TROUBLE.search(line) and not EXPECTED_TROUBLE.search(line)]
    return seen, trouble, log


def known_differences():
    """`client case` to its reason."""
    known = {}
    for line in (HERE / "differences.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            case, _, reason = line.partition(" | ")
            if not reason.strip():
                die(f"differences.txt: no reason in: {line}")
            known[case.strip()] = reason.strip()
    return known


def compare(name, reference, embedded, known):
    """The lines to print about one client; and how many cases are equal."""
    problems, equal = [], 0
    for case in dict.fromkeys([*reference, *embedded]):
        theirs, ours = reference.get(case, "(nothing)"), embedded.get(case, "(nothing)")
        key = f"{name} {case}"
        if theirs == ours and key not in known:
            equal += 1
        elif theirs == ours:
            problems.append(f"{key} no longer differs: take it out of differences.txt")
        elif key not in known:
            problems.append(f"{key}\n    {reference_of(name)}: {theirs}\n    embedded: {ours}")
    if reference.get("(end)") != "0":
        problems.append(f"{name} ended with {reference.get('(end)')} on {reference_of(name)}")
    return problems, equal


def asks_a_registry(name):
    return name.startswith("registry-")


def reference_of(name):
    return "Apicurio" if asks_a_registry(name) else "Apache Kafka"


def script(name, at, count, stack):
    """Starts what a script of this folder starts; its address."""
    ran = subprocess.run([HERE / name, "start", at, str(free_ports(count))], stdout=subprocess.PIPE, text=True, check=True)
    stack.callback(subprocess.run, [HERE / name, "stop", at])
    return ran.stdout.split()[-1]


def embedded(options, work, stack):
    """The embedded broker's address, and the embedded registry's (none without the binary)."""
    if options.hirewire:
        def command(role, at, port):
            return [str(pathlib.Path(options.hirewire).resolve()), role, "--data", at, "--listen", f"127.0.0.1:{port}"]
    else:
        subprocess.run(["cargo", "build", "--locked", "-q", "-p", "hirewire-broker", "--example", "serve"], cwd=ROOT, check=True)
        example = str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/examples/serve")

        def command(_, at, port):
            return [example, at, str(port)]

    def started(role):
        port = free_ports(1)
        return serve(command(role, str(work / f"{role}-data"), port), port, work / f"{role}.server.log", stack)
    return started("broker"), f"http://{started('registry')}" if options.hirewire else None


def serve(command, port, log, stack):
    """Starts a server that listens on this port; its address."""
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    await_port(port, process)
    return f"127.0.0.1:{port}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true", help="install what the clients need, and run none")
    parser.add_argument("--kafka", help="the address of an Apache Kafka that runs already")
    parser.add_argument("--registry", help="the URL of Confluent's API of an Apicurio that runs already")
    parser.add_argument("--hirewire", help="the hirewire binary")
    parser.add_argument("--clients", help="which of them: " + ", ".join(CLIENTS))
    parser.add_argument("--keep", help="where the clients' logs are kept")
    options = parser.parse_args()
    names = options.clients.split(",") if options.clients else [name for name in CLIENTS if options.hirewire or not asks_a_registry(name)]
    registries = {name for name in names if asks_a_registry(name)}
    brokers = set(names) - registries
    if registries and not options.hirewire and not options.prepare:
        die(f"{', '.join(sorted(registries))}: the embedded registry is started by the hirewire binary: give --hirewire")
    needs = {kind: {name for name in names if name in clients} for kind, clients in NEEDS.items()}
    tools = ["java", "mvn"] if needs["jdk"] or (brokers and not options.kafka) or (registries and not options.registry) else []
    tools += ["node", "npm"] if needs["node"] else []
    tools += ["kcat"] if needs["kcat"] else []
    for tool in tools:
        shutil.which(tool) or die(f"{tool} is not installed (Debian packages: nodejs npm kcat, and a JDK with maven)")
    python()
    if needs["node"]:
        node()
    if needs["jdk"]:
        java()
    if options.prepare:
        return
    work = pathlib.Path(options.keep or tempfile.mkdtemp(prefix="conformance-")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if not options.keep:
            stack.callback(shutil.rmtree, work, ignore_errors=True)
        broker, registry = embedded(options, work, stack)
        pairs = {}
        if brokers:
            pairs["broker"] = {"embedded": broker, "reference": options.kafka or script("kafka.sh", work / "kafka", 3, stack)}
        if registries:
            pairs["registry"] = {"embedded": registry, "reference": options.registry or script("registry.sh", work / "apicurio", 2, stack)}
        sys.exit(run(names, pairs, registry, work))


def run(names, pairs, registry, work):
    known, failed, total = known_differences(), 0, 0
    unused = {key for key in known if key.split(" ", 1)[0] in names}
    for name in names:
        began, results = time.monotonic(), {}
        addresses = pairs["registry" if asks_a_registry(name) else "broker"]

        def one(side):
            results[side] = observe(name, addresses[side], side, registry, work)
        sides = [threading.Thread(target=one, args=(side,)) for side in addresses]
        [side.start() for side in sides]
        [side.join() for side in sides]
        (reference, _, reference_log), (ours, trouble, log) = results["reference"], results["embedded"]
        problems, equal = compare(name, reference, ours, known)
        unused -= {f"{name} {case}" for case in [*reference, *ours]}
        problems += [f"{name}: the client's log on the embedded side says: {line}" for line in trouble]
        listed = len({*reference, *ours}) - equal - sum(not p.startswith(f"{name}:") for p in problems)
        print(f"{name}: {equal} cases equal, {max(listed, 0)} listed differences, {len(problems)} problems, {time.monotonic() - began:.0f} s", flush=True)
        for problem in problems:
            print(f"  {problem}", flush=True)
        if reference.get("(end)") != "0" or ours.get("(end)") != "0":
            for side, path in ((reference_of(name), reference_log), ("the embedded side", log)):
                print(f"  -- the end of the log on {side}:\n{path.read_text(errors='replace')[-1500:]}", flush=True)
        failed += len(problems)
        total += equal
    for key in sorted(unused):
        print(f"differences.txt names a case that is not there: {key}")
        failed += 1
    print(f"{total} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    main()

"""A schema registry's REST API, called without a client library: status, code and body of each answer.

Ids are told as the how-many-th this run has seen, and messages not at all: they are each registry's own words.
"""
import json
import sys
import urllib.error
import urllib.request

from observe import PREFIX, tell

URL = sys.argv[1]
ids = {}


def call(method, path, body=None):
    """Status and body."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/vnd.schemaregistry.v1+json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        status, text = refused.code, refused.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, "no JSON" if text else None


def named(value, key=""):
    """The body as it is told."""
    if isinstance(value, dict):
        return {k: named(v, k) for k, v in value.items() if k in KEPT}
    if isinstance(value, list):
        return [named(v, key) for v in value]
    if key == "schema":
        return json.loads(value)
    return f"id {ids.setdefault(value, len(ids) + 1)}" if key == "id" else value


# Others are told by newer registries, or by one of them only (guid, ts, name, detail …).
KEPT = {"error_code", "id", "subject", "version", "schema", "references", "name", "compatibility", "compatibilityLevel", "mode", "is_compatible"}


def case(name, method, path, body=None):
    status, answer = call(method, path.replace("~", PREFIX), body)
    tell(name, [status, answer.get("error_code") if status >= 400 and isinstance(answer, dict) else named(answer)])
    return answer


def record(*fields, name="R"):
    return {"schema": json.dumps({"type": "record", "name": name, "namespace": "n", "fields": list(fields)})}


A = {"name": "a", "type": "int"}
B = {"name": "b", "type": ["null", "string"], "default": None}
TEXT = {"name": "a", "type": "string"}


def registering():
    case("register", "POST", "/subjects/~s/versions", record(A))
    case("register.again", "POST", "/subjects/~s/versions", record(A))
    case("register.elsewhere", "POST", "/subjects/~a%2Fb%20c/versions", record(A))
    case("register.typed", "POST", "/subjects/~s/versions", record(A) | {"schemaType": "AVRO", "references": []})
    case("register.next", "POST", "/subjects/~s/versions", record(A, B))
    case("register.defaults-differ", "POST", "/subjects/~d/versions", record(A | {"default": 0}))
    case("register.defaults-differ-2", "POST", "/subjects/~d/versions", record(A | {"default": 1}))
    case("register.docs-differ", "POST", "/subjects/~d/versions", record(A | {"default": 1, "doc": "one"}))
    case("register.incompatible", "POST", "/subjects/~s/versions", record(TEXT))
    case("register.empty", "POST", "/subjects/~empty/versions", {"schema": ""})
    for name, body in {"cut-off": {"schema": "{"}, "no-fields": {"schema": '{"type": "record", "name": "R"}'},
                       "unknown-type": {"schema": '"n.Missing"'}, "two-fields-of-a-name": record(A, A), "bad-default": record({"name": "a", "type": "int", "default": "x"}),
                       "bad-name": record(A, name="1R")}.items():
        case(f"register.{name}", "POST", "/subjects/~bad/versions", body)
    case("register.no-json", "POST", "/subjects/~bad/versions", b"{")
    for kind in ("PROTOBUF", "XML"):
        case(f"register.{kind}", "POST", "/subjects/~bad/versions", {"schema": "{}", "schemaType": kind})
    case("register.primitive", "POST", "/subjects/~p/versions", {"schema": '"string"'})
    case("register.primitive-long", "POST", "/subjects/~p/versions", {"schema": '{"type": "string"}'})


def reading():
    first = call("POST", f"/subjects/{PREFIX}s/versions", record(A))[1]["id"]
    second = call("POST", f"/subjects/{PREFIX}s/versions", record(A, B))[1]["id"]
    for which in ("1", "2", "latest", "-1", "9", "0", "first"):
        case(f"version.{which}", "GET", f"/subjects/~s/versions/{which}")
    case("version.text", "GET", "/subjects/~s/versions/2/schema")
    case("version.no-subject", "GET", "/subjects/~none/versions/1")
    case("versions", "GET", "/subjects/~s/versions")
    case("versions.no-subject", "GET", "/subjects/~none/versions")
    case("id", "GET", f"/schemas/ids/{second}")
    case("id.text", "GET", f"/schemas/ids/{second}/schema")
    case("id.unknown", "GET", "/schemas/ids/999999")
    tell("id.subjects", sorted(one for one in call("GET", f"/schemas/ids/{first}/subjects")[1] if one.startswith(PREFIX)))
    uses = call("GET", f"/schemas/ids/{first}/versions")[1]
    tell("id.versions", sorted([use["subject"], use["version"]] for use in uses if use["subject"].startswith(PREFIX)))
    tell("subjects", sorted(one for one in call("GET", "/subjects")[1] if one.startswith(PREFIX) and "empty" not in one))
    tell("subjects.prefix", all(one.startswith(f"{PREFIX}s") for one in call("GET", f"/subjects?subjectPrefix={PREFIX}s")[1]))
    case("look-up", "POST", "/subjects/~s", record(A))
    case("look-up.unknown", "POST", "/subjects/~s", record())
    case("look-up.no-subject", "POST", "/subjects/~none", record(A))
    case("types", "GET", "/schemas/types")
    case("root", "GET", "/")
    case("associations", "GET", "/associations/subjects/~s")


def levels():
    case("level.global", "GET", "/config")
    case("level.unset", "GET", "/config/~s")
    case("level.default", "GET", "/config/~s?defaultToGlobal=true")
    case("level.nonsense", "PUT", "/config/~s", {"compatibility": "SOME"})
    case("level.nothing", "PUT", "/config/~s", {})
    case("verdict.yes", "POST", "/compatibility/subjects/~s/versions/latest", record(A, B))
    case("verdict.no", "POST", "/compatibility/subjects/~s/versions/latest", record(TEXT))
    case("verdict.first", "POST", "/compatibility/subjects/~s/versions/1", record(A))
    case("verdict.all", "POST", "/compatibility/subjects/~s/versions", record(A, B))
    case("verdict.no-version", "POST", "/compatibility/subjects/~s/versions/7", record(A))
    case("verdict.no-subject", "POST", "/compatibility/subjects/~none/versions/latest", record(A))
    case("verdict.no-subject-version", "POST", "/compatibility/subjects/~none/versions/1", record(A))
    case("verdict.no-subject-at-all", "POST", "/compatibility/subjects/~none/versions", record(A))
    case("verdict.no-schema", "POST", "/compatibility/subjects/~s/versions/latest", {"schema": "{"})
    tell("verdict.verbose", len(call("POST", f"/compatibility/subjects/{PREFIX}s/versions/latest?verbose=true", record(TEXT))[1].get("messages", [])) > 0)
    for level in ("BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE", "NONE"):
        case(f"level.set.{level}", "PUT", "/config/~s", {"compatibility": level})
        case(f"level.get.{level}", "GET", "/config/~s")
        for name, schema in {"widens": record(A | {"type": "long"}, B), "drops": record(B), "adds": record(A, B, {"name": "c", "type": "int"}), "other": record(TEXT)}.items():
            case(f"level.{level}.{name}", "POST", "/compatibility/subjects/~s/versions/latest", schema)
    case("level.NONE.registers", "POST", "/subjects/~s/versions", record(TEXT))
    case("level.delete", "DELETE", "/config/~s")
    case("level.deleted", "GET", "/config/~s")


def transitive():
    """Three versions, of which only the first and the third do not fit."""
    for level in ("BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"):
        subject = f"~t-{level}"
        case(f"transitive.{level}.1", "POST", f"/subjects/{subject}/versions", record(A | {"default": 0}))
        case(f"transitive.{level}.2", "POST", f"/subjects/{subject}/versions", record())
        case(f"transitive.{level}.level", "PUT", f"/config/{subject}", {"compatibility": level})
        case(f"transitive.{level}.3", "POST", f"/subjects/{subject}/versions", record(TEXT | {"default": ""}))


def deleting():
    case("none-for-all", "PUT", "/config/~x", {"compatibility": "NONE"})
    for fields in ([A], [A, B], []):
        case(f"delete.prepare-{len(fields)}", "POST", "/subjects/~x/versions", record(*fields))
    for name, method, path in [
            ("hard-before-soft", "DELETE", "/versions/2?permanent=true"), ("version", "DELETE", "/versions/2"), ("version-again", "DELETE", "/versions/2"),
            ("read", "GET", "/versions/2"), ("read-deleted", "GET", "/versions/2?deleted=true"), ("versions", "GET", "/versions"),
            ("versions-deleted", "GET", "/versions?deleted=true"), ("version-hard", "DELETE", "/versions/2?permanent=true"),
            ("unknown-version", "DELETE", "/versions/9"), ("subject-hard-before-soft", "DELETE", "?permanent=true"), ("subject", "DELETE", ""),
            ("subject-again", "DELETE", ""), ("subject-versions", "GET", "/versions")]:
        case(f"delete.{name}", method, f"/subjects/~x{path}")
    case("delete.back", "POST", "/subjects/~x/versions", record(A, B))
    case("delete.back-versions", "GET", "/subjects/~x/versions")
    case("delete.all", "DELETE", "/subjects/~x")
    case("delete.all-hard", "DELETE", "/subjects/~x?permanent=true")
    case("delete.gone", "DELETE", "/subjects/~x")


def references():
    case("reference.inner", "POST", "/subjects/~e/versions", {"schema": json.dumps({"type": "enum", "name": "E", "namespace": "n", "symbols": ["X"]})})
    outer = record({"name": "e", "type": "n.E"}, name="O") | {"references": [{"name": "n.E", "subject": f"{PREFIX}e", "version": 1}]}
    case("reference.outer", "POST", "/subjects/~o/versions", outer)
    case("reference.again", "POST", "/subjects/~o/versions", outer)
    case("reference.read", "GET", "/subjects/~o/versions/1")
    tell("reference.by", len(call("GET", f"/subjects/{PREFIX}e/versions/1/referencedby")[1]))
    case("reference.in-use", "DELETE", "/subjects/~e")
    case("reference.missing", "POST", "/subjects/~o/versions", outer | {"references": [{"name": "n.E", "subject": f"{PREFIX}e", "version": 9}]})


def modes():
    case("mode.global", "GET", "/mode")
    case("mode.unset", "GET", "/mode/~s")
    case("mode.nonsense", "PUT", "/mode", {"mode": "ASLEEP"})


registering()
reading()
levels()
transitive()
deleting()
references()
modes()

#!/usr/bin/env python3
"""Writes values.schema.json and the table of README.md from values.yaml, the part for `config` from docs/configuration.md, and topics.yaml from
schemas/topics.yaml and the folders of vendors/.

    helm/generate.py            writes them          helm/generate.py --check   exit code 1 when they are not up to date

Every key of values.yaml has a description; a key without one is an error here. Needs PyYAML.
"""
import json
import re
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
SETTINGS = HERE.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- values: written by generate.py -->\n", "<!-- end of values -->\n"
# What the chart writes into hirewire.yaml itself.
OWN = {"data_dir", "admin.listen", "embedded.broker", "embedded.registry", "ingest.listen"}
TYPES = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}
DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}
SECRET = {
    "type": "object", "additionalProperties": False, "minProperties": 1, "maxProperties": 1,
    "properties": {"file": {"type": "string", "minLength": 1}, "env": {"type": "string", "minLength": 1}},
}
STRINGS = {"type": "array", "items": {"type": "string"}}


def main():
    lines = (HERE / "values.yaml").read_text().splitlines()
    root = yaml.compose("\n".join(lines))
    values = Values(lines, root)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "hirewire", **values.object(root, "")}
    groups(schema["properties"]["route"]["properties"])
    readme = (HERE / "README.md").read_text()
    if BEGIN not in readme or END not in readme:
        sys.exit("README.md has lost the marks around its table of values")
    before, rest = readme.split(BEGIN)
    wanted = {
        "values.schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n",
        "README.md": before + BEGIN + values.table() + END + rest.split(END)[1],
        "topics.yaml": topics(),
    }
    checking = "--check" in sys.argv
    stale = [name for name, text in wanted.items() if not (HERE / name).exists() or differ((HERE / name).read_text(), text, checking)]
    if checking:
        if stale:
            sys.exit(f"helm/{' and helm/'.join(stale)}: not what values.yaml and docs/configuration.md say; run helm/generate.py")
        return
    for name in stale:
        (HERE / name).write_text(wanted[name])
        print(f"written: helm/{name}")


def differ(found, wanted, checking):
    """Another wording of docs/configuration.md is written by the next run, and is no reason to fail; another key, type or bound is."""
    if not checking or not found.startswith("{"):
        return found != wanted
    schemas = [json.loads(text) for text in (found, wanted)]
    for schema in schemas:
        schema["properties"]["config"] = undescribed(schema["properties"]["config"])
    return schemas[0] != schemas[1]


def undescribed(schema):
    if not isinstance(schema, dict):
        return schema
    # A `description` that is a text is one; else it is a key of that name.
    return {key: undescribed(value) for key, value in schema.items() if not (key == "description" and isinstance(value, str))}


class Values:
    """values.yaml with its comments, as a schema and as rows of a table."""

    def __init__(self, lines, root):
        self.lines, self.rows = lines, []
        defaults = next(child for key, child in pairs(root) if key.value == "defaults")
        self.pod = self.object(defaults, "defaults", keep=False)["properties"]

    def object(self, node, path, keep=True):
        properties = {}
        for key, child in pairs(node):
            below = f"{path}.{key.value}" if path else key.value
            properties[key.value] = self.value(key, child, below, keep)
        return {"type": "object", "additionalProperties": False, "properties": properties}

    def value(self, key, node, path, keep):
        note = self.note(key, path)
        if "settings" in note:
            schema = settings()
        elif path.split(".")[0] in ROLES and self.pod.get(key.value, {}).get("additionalProperties") is True:
            schema = {**self.pod[key.value], "description": "As in `defaults`."}
        elif isinstance(node, yaml.MappingNode) and node.value and note.get("schema", {}).get("additionalProperties") is not True:
            row = len(self.rows)
            schema = self.object(node, path, keep)
            if "pod" in note:
                schema["properties"] = {**self.pod, **schema["properties"]}
            elif path.split(".")[0] in ROLES and key.value in self.pod:
                # A part of `defaults` that this role has another default for: all of its keys may be set here.
                schema = {**self.pod[key.value]}
            if keep and "description" in note and "pod" in note:
                self.rows.insert(row, (path, "", note["description"]))
        else:
            schema = {"type": {"seq": "array", "map": "object"}.get(kind(node)) or TYPES[kind(node)]}
        if "description" in note:
            schema["description"] = note["description"]
        elif not (isinstance(node, yaml.MappingNode) and node.value) and path.split(".")[0] not in ROLES:
            sys.exit(f"values.yaml: {path} has no description")
        schema.update(note.get("schema", {}))
        if "example" in note:
            schema["examples"] = [note["example"]]
        if keep and not ("properties" in schema and "settings" not in note and isinstance(node, yaml.MappingNode) and node.value):
            self.rows.append((path, show(node), schema.get("description", "As in `defaults`.")))
        return schema

    def note(self, key, path):
        """The comments right above a key, at its indentation."""
        at, column, found = key.start_mark.line - 1, key.start_mark.column, []
        while at >= 0 and self.lines[at].startswith(" " * column + "#"):
            found.insert(0, self.lines[at].strip()[1:].strip())
            at -= 1
        note, text = {}, []
        for line in found:
            word, _, rest = line.partition(" ")
            if word == "--":
                text = [rest]
            elif word == "@schema":
                note["schema"] = json.loads(rest)
            elif word == "@example":
                note["example"] = yaml.safe_load(rest)
            elif word in ("@pod", "@settings"):
                note[word[1:]] = True
            elif word.startswith("@"):
                sys.exit(f"values.yaml: {path}: {word} is not known")
            elif text:
                text.append(line)
        if text:
            note["description"] = " ".join(text)
        return note

    def table(self):
        rows = ["| key | default | what |", "|---|---|---|"]
        rows += [f"| `{path}` | {f'`{default}`' if default else ''} | {text.replace('|', chr(92) + '|')} |" for path, default, text in self.rows]
        return "\n".join(rows) + "\n"


ROLES = {"webhook", "poll", "normalize", "route", "registry", "embedded"}


def pairs(node):
    return [(key, child) for key, child in node.value] if isinstance(node, yaml.MappingNode) else []


def kind(node):
    return node.tag.rsplit(":", 1)[1]


def show(node):
    """A default on one line; a long one is in values.yaml."""
    value = yaml.SafeLoader("").construct_document(node) if not isinstance(node, yaml.ScalarNode) else node.value
    text = value if isinstance(value, str) and value and kind(node) != "str" else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else "see values.yaml"


def settings():
    """The schema of hirewire.yaml, from the tables `| key | type | default | what |` of docs/configuration.md."""
    root = {"type": "object", "additionalProperties": False, "properties": {}}
    rows = re.findall(r"^\| `([a-z_.<>]+)` \| ([^|]+?) +\| *([^|]*?) *\| ?(.*?) ?\|$", SETTINGS.read_text(), re.M)
    if len(rows) < 50:
        sys.exit("docs/configuration.md: its tables of settings were not understood")
    for key, shown, default, what in rows:
        if key in OWN:
            continue
        at, parts = root, key.split(".")
        for part in parts[:-1]:
            empty = {"type": "object", "additionalProperties": False, "properties": {}}
            if part.startswith("<"):
                at.pop("properties", None)
                if at["additionalProperties"] is False:
                    at["additionalProperties"] = empty
                at = at["additionalProperties"]
            else:
                at = at["properties"].setdefault(part, empty)
                # Below something that is a text or an object, or a list of such: the object.
                at = at.get("items", at)
                at = at["anyOf"][1] if "anyOf" in at else at
        leaf = {**setting(key, shown.replace(", required", "")), "description": what + (f" Default: {default}." if default else "")}
        at["properties"][parts[-1]] = leaf
        # `required in `webhook``: of the section itself. What is required at the top is the chart's to say, by mode.
        if (default.startswith("required in") or "required" in shown) and len(parts) > 2:
            at.setdefault("required", []).append(parts[-1])
    return root


def groups(route):
    """A group of sinks has the keys of `route` but these two, and its sinks."""
    own = {key: value for key, value in route.items() if key not in ("enabled", "groups")}
    sinks = {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "string"}, "description": "Names of `config.sinks`."}
    route["groups"]["additionalProperties"] = {
        "type": "object", "additionalProperties": False, "required": ["sinks"], "properties": {"sinks": sinks, **own}}


def topics():
    """The topic table for Strimzi: names, Kafka's settings as texts, and which services write and read."""
    rows = yaml.safe_load((HERE.parent / "schemas" / "topics.yaml").read_text())["topics"]
    lines = ["# Written by generate.py from schemas/topics.yaml and the folders of vendors/.", "vendors:"]
    lines += [f"  - {folder.name}" for folder in sorted((HERE.parent / "vendors").iterdir()) if (folder / "manifest.yaml").exists()]
    lines += ["topics:"]
    for row in rows:
        retention = "-1" if row["retention"] == "forever" else str(int(row["retention"].removesuffix("d")) * 86_400_000)
        config = {"cleanup.policy": row["cleanup"], "retention.ms": retention}
        if "max_bytes" in row:
            config["max.message.bytes"] = str(row["max_bytes"])
        lines.append("  - " + json.dumps({"name": row["name"], "config": config, "write": row.get("write", []), "read": row.get("read", [])}))
    return "\n".join(lines) + "\n"


def setting(key, shown):
    least = re.search(r"≥ ([0-9_]+)", shown)
    if shown.startswith(("number", "size", "KiB")):
        return {"type": "integer", "minimum": int(least.group(1)) if least else 0}
    if shown.startswith("duration"):
        return DURATION
    if shown == "secret":
        return SECRET
    if shown == "text or secret":
        return {"anyOf": [{"type": "string"}, SECRET]}
    if secrets := re.match(r"list of ([0-9]+) (?:or|to) ([0-9]+) secrets", shown):
        return {"type": "array", "minItems": int(secrets.group(1)), "maxItems": int(secrets.group(2)), "items": SECRET}
    if shown == "text or list of texts":
        return {"anyOf": [{"type": "string", "minLength": 1}, {**STRINGS, "minItems": 1}]}
    if shown == "list of parts":
        return {"type": "array", "minItems": 1, "items": either(["body", "method", "path"])}
    if shown == "`body` or joined":
        return either(["body"])
    if shown.startswith("list of"):
        return STRINGS
    if shown == "true or false":
        return {"type": "boolean"}
    if shown == "condition":
        return {"type": "object"}
    if re.fullmatch(r"[A-Za-z0-9-]+(, [A-Za-z0-9-]+)+", shown):
        return {"enum": shown.split(", ")}
    if shown.startswith("day"):
        return {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
    if shown.startswith(("text", "path", "URL", "address", "`")):
        return {"type": "string", "minLength": 0 if shown == "text" else 1}
    sys.exit(f"docs/configuration.md: the type \"{shown}\" of {key} is not known; add it to helm/generate.py")


def either(words):
    """One of these, or an object whose keys have rows of their own."""
    return {"anyOf": [{"enum": words}, {"type": "object", "additionalProperties": False, "properties": {}}]}


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Reads each record of a folder that avro_bytes.rs wrote, with fastavro, and writes it again: the bytes must be the same."""
import io
import json
import pathlib
import struct
import sys

import fastavro

total = 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.bin")):
    schema = fastavro.parse_schema(json.loads(path.with_suffix(".avsc").read_text()))
    data, at, count = path.read_bytes(), 0, 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        record = data[at + 4:at + 4 + length]
        at += 4 + length
        reader = io.BytesIO(record)
        value = fastavro.schemaless_reader(reader, schema)
        if reader.tell() != length:
            sys.exit(f"{path.stem} {count}: {length - reader.tell()} bytes are left over")
        again = io.BytesIO()
        fastavro.schemaless_writer(again, schema, value)
        if again.getvalue() != record:
            sys.exit(f"{path.stem} {count}: fastavro writes {again.getvalue().hex()} and not {record.hex()}")
        count += 1
    total += count
print(f"fastavro {fastavro.__version__}: {total} records, each read whole and written again with the same bytes")
sys.exit(0 if total else "no records")

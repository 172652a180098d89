#!/usr/bin/env python3
"""What DuckDB and pyarrow read in a folder of a `parquet` sink, as JSON: read.py FOLDER TABLE

    {"duckdb": {"rows": …, "types": {column: type}, "partitions": [[tenant, day, rows], …], "first": {column: text}}, "pyarrow": {…}}

Both read all files below the table, as people do, and the files that the manifest names, which must be the same rows.
"""
import json
import pathlib
import sys

import duckdb
import pyarrow.compute as pc
import pyarrow.dataset as ds


def shown(row):
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}


def main():
    folder, table = pathlib.Path(sys.argv[1]), sys.argv[2]
    named = [str(folder / one["path"]) for one in json.loads((folder / "manifest.json").read_text())["files"] if one["path"].startswith(f"{table}/")]

    rows = duckdb.connect()
    rows.execute("SET TimeZone = 'UTC'")
    rows.execute(f"CREATE VIEW t AS SELECT * FROM read_parquet('{folder}/{table}/**/*.parquet', hive_partitioning = true)")
    described = rows.execute("DESCRIBE t").fetchall()
    by_duckdb = {
        "rows": rows.execute("SELECT count(*) FROM t").fetchone()[0],
        "named": rows.execute("SELECT count(*) FROM read_parquet(?)", [named]).fetchone()[0],
        "types": {name: kind for name, kind, *_ in described},
        "partitions": [[tenant, str(day), count] for tenant, day, count in rows.execute("SELECT tenant, day, count(*) FROM t GROUP BY ALL ORDER BY ALL").fetchall()],
        "first": shown(rows.execute("SELECT * FROM t ORDER BY sequence_no LIMIT 1").to_arrow_table().to_pylist()[0]),
    }

    dataset = ds.dataset(folder / table, format="parquet", partitioning="hive", exclude_invalid_files=False)
    whole = dataset.to_table().sort_by("sequence_no")
    groups = whole.group_by(["tenant", "day"]).aggregate([([], "count_all")]).sort_by([("tenant", "ascending"), ("day", "ascending")]).to_pylist()
    by_pyarrow = {
        "rows": whole.num_rows,
        "named": ds.dataset(named, format="parquet").count_rows(),
        "types": {field.name: str(field.type) for field in whole.schema},
        "partitions": [[group["tenant"], str(group["day"]), group["count_all"]] for group in groups],
        "first": shown(whole.slice(0, 1).to_pylist()[0]),
    }
    print(json.dumps({"duckdb": by_duckdb, "pyarrow": by_pyarrow, "sum": pc.sum(whole["sequence_no"]).as_py()}))


main()

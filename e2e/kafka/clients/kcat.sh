#!/usr/bin/env bash
# kcat (librdkafka, as Debian ships it): producing, reading, metadata, offsets by time, groups. Prints `name: what was observed`; see observe.py.
#   kcat.sh BOOTSTRAP PREFIX
set -euo pipefail
b=$1 p=$2 t=$2-kcat
k() { timeout 60 kcat -b "$b" -X broker.address.family=v4 "$@"; }
tell() { echo "$1: ${2//$p/@}"; }
python3 - "$b" "$t" "$p-other" <<'P'
import sys
from confluent_kafka.admin import AdminClient, NewTopic
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
for made in admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "-1"}) for name in sys.argv[2:]]).values(): made.result(20)
P
until k -L -t "$t" | grep -q "with 2 partitions"; do sleep 0.05; done
tell metadata "$(k -L -J -t "$t" | python3 -c 'import json,sys; d=json.load(sys.stdin); print([[t["topic"], [[p["partition"], p["leader"], len(p["replicas"]), len(p["isrs"])] for p in t["partitions"]]] for t in d["topics"]], len(d["brokers"]))')"
tell metadata.none "$(k -L -t "$p-none" | grep "topic \"$p-none\"")"
printf 'a:1\nb:2\nc\n' | k -P -t "$t" -p 0 -K:
printf 'k:' | k -P -t "$t" -p 0 -K: -Z
printf 'with headers' | k -P -t "$t" -p 0 -H a=1 -H a=2 -H empty=
for codec in gzip snappy lz4 zstd; do seq 1 200 | sed "s/^/$codec /" | k -P -t "$t" -p 0 -z "$codec"; done
for acks in 0 1 -1; do echo "acks $acks" | k -P -t "$t" -p 1 -X acks="$acks"; done
printf 'idempotent\n' | k -P -t "$t" -p 1 -X enable.idempotence=true
tell read.count "$(k -C -t "$t" -p 0 -o beginning -e -q | wc -l) $(k -C -t "$t" -p 1 -o beginning -e -q | tr '\n' ' ')"
tell read.first "$(k -C -t "$t" -p 0 -o beginning -c 5 -q -f '%o %k %s %S %h|')"
tell read.json "$(k -C -t "$t" -p 0 -o 4 -c 1 -q -J | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["offset"], d["tstype"], d["headers"], d["payload"])')"
tell read.last "$(k -C -t "$t" -p 0 -o -3 -e -q -f '%o %s|')"
tell read.sum "$(k -C -t "$t" -p 0 -o beginning -e -q | sha256sum | cut -c1-16)"
tell offset-for-time "$(k -Q -t "$t:0:1" -t "$t:1:4000000000000")"
tell unknown.partition "$(k -C -t "$t" -p 7 -o beginning -e -q 2>&1 | sed 's/^%.*//' | head -n 1)"
tell group "$(k -G "$p-kcat-group" -X auto.offset.reset=earliest -X enable.partition.eof=true -e -q "$t" 2>/dev/null | wc -l)"
tell group.again "$(k -G "$p-kcat-group" -X auto.offset.reset=earliest -X enable.partition.eof=true -e -q "$t" 2>/dev/null | wc -l)"
tell transaction "$(printf 'one\ntwo\n' | k -P -t "$p-other" -p 0 -X transactional.id="$p-kcat-tx" && k -C -t "$p-other" -p 0 -o beginning -e -q -f '%o %s|' -X isolation.level=read_committed)"

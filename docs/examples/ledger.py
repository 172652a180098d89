#!/usr/bin/env python3
"""Reads the ledger and prints each application's effective history: what nothing supersedes, in the order of time.

    pip install "confluent-kafka[avro,schemaregistry]"
    ledger.py localhost:9092 http://localhost:8081
"""
import json
import sys
from collections import defaultdict

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "ats.stage-change.v1"


def read_all(brokers, registry):
    """Every change that is there now, in the order of each application's `sequence_no`."""
    decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "example-ledger",
        "enable.auto.commit": False,  # it reads everything each time
        "isolation.level": "read_committed",  # without it, changes of transactions that never happened are read too
        "enable.partition.eof": True,
    })
    unread = set(consumer.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions)
    consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in unread])
    while unread:
        message = consumer.poll(1)
        if message is None:
            continue
        if not message.error():
            yield decode(message.value(), SerializationContext(TOPIC, MessageField.VALUE))
        elif message.error().code() == KafkaError._PARTITION_EOF:
            unread.discard(message.partition())
        else:
            raise SystemExit(f"{brokers}: {message.error()}")
    consumer.close()


def effective(changes):
    """What nothing supersedes, by time; of equal times, what was told first."""
    superseded = {event for change in changes for event in change["supersedes"]}
    left = [change for change in changes if change["meta"]["event_id"] not in superseded]
    return sorted(left, key=lambda change: (change["occurred_at"], change["sequence_no"]))


def stage(change, side):
    return change[side]["name"] if change[side] else None


def main(brokers, registry):
    ledger = defaultdict(list)
    for change in read_all(brokers, registry):
        told = ledger[change["application_id"]]
        told.append(change)
        # The numbers have no gap, so a reader can tell that it missed nothing.
        assert change["sequence_no"] == len(told), f"{change['application_id']}: {change['sequence_no']} after {len(told) - 1}"
    for changes in ledger.values():
        history = [
            {
                "change": change["change_type"],
                "from": stage(change, "from_stage"),
                "to": stage(change, "to_stage"),
                "status": change["to_status"]["value"],
                "at": change["occurred_at"].isoformat(),
            }
            for change in effective(changes)
        ]
        print(json.dumps({"application": changes[0]["meta"]["remote_id"], "history": history}))


if __name__ == "__main__":
    main(*sys.argv[1:])

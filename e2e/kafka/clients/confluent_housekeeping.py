"""confluent-kafka (librdkafka): what is left after compaction and retention have done their work."""
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from observe import BOOTSTRAP, tell, topic, until

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(name, **config):
    name = topic(name)
    config = {key.replace("_", "."): value for key, value in config.items()}
    [made.result(20) for made in admin.create_topics([NewTopic(name, 1, 1, config=config)]).values()]
    until("the topic", lambda: name in admin.list_topics(timeout=10).topics)
    return name


def send(producer, name, *records, timestamp=0):
    for key, value in records:
        producer.produce(name, key=key, value=value, partition=0, timestamp=timestamp)
        producer.flush(20)


def read(name, isolation="read_committed"):
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": topic("reader"), "enable.auto.commit": False, "enable.partition.eof": True,
                         "isolation.level": isolation})
    consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    found = []
    while True:
        message = consumer.poll(20)
        assert message is not None, name
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            consumer.close()
            return found
        found.append([message.offset(), (message.key() or b"").decode(), message.value() and message.value().decode()])


def edge(name, spec):
    place = TopicPartition(name, 0)
    return admin.list_offsets({place: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)[place].result(20).offset


def compaction(codec):
    name = create(f"compact-{codec}", cleanup_policy="compact", segment_ms="1000", min_cleanable_dirty_ratio="0.01", delete_retention_ms="100")
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "compression.type": codec, "linger.ms": 0})
    send(producer, name, ("a", "old"), ("b", "only"), ("c", "old"), ("a", "new"), ("c", None))
    sent = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": topic(f"compact-{codec}"), "compression.type": codec})
    sent.init_transactions(30)
    for value, end in (("aborted", sent.abort_transaction), ("kept", sent.commit_transaction)):
        sent.begin_transaction()
        send(sent, name, ("t", value))
        end(30)

    def compacted():
        # The newest segment is never compacted: a record now and then closes it.
        send(producer, name, ("last", str(time.time())))
        time.sleep(1.1)
        found = [record for record in read(name) if record[1] != "last"]
        return len(found) == 3 and found
    # The tombstone of c is gone too; offsets stay what they were.
    tell(f"compaction.{codec}", until("compaction", compacted, 90))


def retention():
    name = create("by-time", retention_ms="60000", segment_ms="1000")
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 0})
    old = int((time.time() - 3600) * 1000)
    send(producer, name, *[("k", str(number)) for number in range(5)], timestamp=old)
    until("retention", lambda: edge(name, OffsetSpec.earliest()) == 5, 90)
    tell("retention.by-time", [edge(name, OffsetSpec.earliest()), edge(name, OffsetSpec.latest()), read(name)])
    send(producer, name, ("k", "young"))
    tell("retention.goes-on", read(name))
    name = create("by-size", retention_bytes="1500000", segment_bytes="1048576")
    for number in range(8):
        send(producer, name, (str(number), "x" * 500_000))
    until("retention by size", lambda: edge(name, OffsetSpec.earliest()) > 0, 90)
    left = [record[0] for record in read(name)]
    tell("retention.by-size", [left == list(range(left[0], 8)), 2 <= len(left) < 8])


compaction("none")
compaction("zstd")
retention()

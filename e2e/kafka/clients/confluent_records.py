"""confluent-kafka (librdkafka): producing, reading, groups, transactions; with a registry's URL also Avro."""
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from observe import BOOTSTRAP, REGISTRY, tell, topic, until

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
quiet = {"bootstrap.servers": BOOTSTRAP}


def create(name, partitions=1, **config):
    name = topic(name)
    list(admin.create_topics([NewTopic(name, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()})]).values())[0].result(20)
    until("the topic", lambda: name in admin.list_topics(timeout=10).topics)
    return name


def refusal(call):
    try:
        call()
        return "ok"
    except KafkaException as problem:
        return [problem.args[0].name(), problem.args[0].fatal(), problem.args[0].retriable(), problem.args[0].txn_requires_abort()]


def deliver(producer, name, value, **options):
    """Sends one record and waits; its offset, or the name of the error."""
    seen = []
    try:
        producer.produce(name, value=value, partition=0, on_delivery=lambda error, message: seen.append(error.name() if error else message.offset()), **options)
        producer.flush(30)
    except KafkaException as problem:
        seen.append(problem.args[0].name())
    return seen[0] if seen else "nothing"


def read(name, count=None, isolation="read_committed", partition=0):
    """All records of a partition up to its end (or so many)."""
    consumer = Consumer(quiet | {"group.id": topic("reader"), "enable.auto.commit": False, "enable.partition.eof": True, "isolation.level": isolation})
    consumer.assign([TopicPartition(name, partition, 0)])
    found = []
    while count is None or len(found) < count:
        message = consumer.poll(20)
        if message is None:
            raise TimeoutError(f"{name}: {len(found)} records and no end")
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            break
        found.append(message)
    consumer.close()
    return found


def records():
    name = create("records", retention_ms="-1")
    producer = Producer(quiet | {"enable.idempotence": True, "linger.ms": 0, "message.max.bytes": 5_000_000})
    tell("produce.headers", deliver(producer, name, b"one", key=b"k", headers=[("a", b"1"), ("a", b"2"), ("none", None), ("bin", b"\x00\xff")], timestamp=1_700_000_000_123))
    tell("produce.null-value", deliver(producer, name, None, key=b"k"))
    tell("produce.empty", deliver(producer, name, b"", key=b""))
    tell("produce.900KiB", deliver(producer, name, b"x" * 900 * 1024))
    tell("produce.3MiB", deliver(producer, name, b"x" * 3 * 1024 * 1024))
    tell("produce.after-a-refusal", deliver(producer, name, b"goes on"))
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        packed = Producer(quiet | {"compression.type": codec, "linger.ms": 50})
        for number in range(50):
            packed.produce(name, value=f"{codec} {number} " + "y" * 100, partition=0)
        packed.flush(20)
    for acks in ("0", "1"):
        loose = Producer(quiet | {"acks": acks})
        tell(f"produce.acks-{acks}", isinstance(deliver(loose, name, f"acks {acks}"), int))
    found = until("all records", lambda: (f := read(name)) and len(f) == 207 and f)
    tell("read.first", [found[0].key() == b"k", found[0].headers() == [("a", b"1"), ("a", b"2"), ("none", None), ("bin", b"\x00\xff")], found[0].timestamp()])
    tell("read.null-and-empty", [found[1].value(), found[2].value() == b"", found[2].key() == b""])
    tell("read.all", [len(found), [m.offset() for m in found] == list(range(207)), sum(len(m.value() or b"") for m in found)])
    tell("produce.no-topic", deliver(Producer(quiet | {"message.timeout.ms": 3000, "topic.metadata.propagation.max.ms": 500}), topic("none"), b"x"))
    future = create("future", retention_ms="-1")
    plain = Producer(quiet)
    tell("produce.two-days-ahead", deliver(plain, future, b"x", timestamp=int((time.time() + 2 * 86400) * 1000)))
    strict = create("strict", message_timestamp_before_max_ms="60000")
    tell("produce.before-the-topics-limit", [deliver(plain, strict, b"x", timestamp=1000), deliver(plain, strict, b"x")])
    tell("produce.long-ago", deliver(plain, future, b"x", timestamp=1000))
    stamped = create("stamped", message_timestamp_type="LogAppendTime")
    deliver(plain, stamped, b"x", timestamp=1000)
    kind, stamp = read(stamped)[0].timestamp()
    tell("read.append-time", [kind, abs(stamp / 1000 - time.time()) < 60])
    compact = create("compact", cleanup_policy="compact")
    tell("produce.compacted-without-key", [deliver(plain, compact, b"x"), deliver(plain, compact, b"x", key=b"k")])
    small = create("small", max_message_bytes="1000")
    tell("produce.over-the-topics-limit", [deliver(plain, small, b"x" * 2000), deliver(plain, small, b"x" * 500)])


def positions():
    name = create("positions", 2, retention_ms="-1")
    producer = Producer(quiet)
    for number in range(10):
        producer.produce(name, value=str(number), partition=0, timestamp=1_700_000_000_000 + number * 1000)
    producer.flush(20)
    group = topic("positions")
    consumer = Consumer(quiet | {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "error"})
    tell("watermarks", consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=20))
    for stamp in (0, 1_700_000_004_500, 1_900_000_000_000):
        tell(f"offsets-for-time.{stamp}", consumer.offsets_for_times([TopicPartition(name, 0, stamp)], timeout=20)[0].offset)
    tell("commit.simple", [p.offset for p in consumer.commit(offsets=[TopicPartition(name, 0, 3, metadata="m")], asynchronous=False)])
    tell("committed", [[p.offset, p.metadata] for p in consumer.committed([TopicPartition(name, 0), TopicPartition(name, 1)], timeout=20)])
    tell("commit.no-topic", refusal(lambda: consumer.commit(offsets=[TopicPartition(topic("none"), 0, 3)], asynchronous=False)))
    tell("commit.long-metadata", refusal(lambda: consumer.commit(offsets=[TopicPartition(name, 0, 4, metadata="m" * 5000)], asynchronous=False)))
    consumer.assign([TopicPartition(name, 0, 99)])
    errors = []
    until("an error", lambda: (m := consumer.poll(0.2)) and m.error() and errors.append(m.error().name()) or errors)
    tell("read.out-of-range", errors)
    consumer.close()
    lost = Consumer(quiet | {"group.id": group, "auto.offset.reset": "earliest"})
    lost.subscribe([topic("none")])
    seen = until("an answer", lambda: (m := lost.poll(0.2)) and m.error() and m.error().name())
    tell("subscribe.no-topic", seen)
    lost.close()


def member(group, name, strategy, **more):
    consumer = Consumer(quiet | {"group.id": group, "auto.offset.reset": "earliest", "partition.assignment.strategy": strategy,
                                 "session.timeout.ms": 6000, "heartbeat.interval.ms": 200} | more)
    consumer.subscribe([name])
    return consumer


def share(consumers, name):
    """Polls all until each has its share; the sizes."""
    def shared():
        for consumer in consumers:
            consumer.poll(0.05)
        sizes = [len(consumer.assignment()) for consumer in consumers]
        return sum(sizes) == 4 and max(sizes) - min(sizes) <= 1 and sizes
    return until(f"{len(consumers)} shares", shared)


def groups():
    name = create("groups", 4)
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        group = topic(f"group-{strategy}")
        first = member(group, name, strategy)
        alone = share([first], name)
        second = member(group, name, strategy)
        both = share([first, second], name)
        second.close()
        tell(f"group.{strategy}", [alone, both, share([first], name)])
        first.close()
    group = topic("group-static")
    static = {"group.instance.id": "i1"}
    first = member(group, name, "range", **static)
    share([first], name)
    again = member(group, name, "range", **static)
    share([again], name)
    tell("group.static.fenced", until("a fence", lambda: (m := first.poll(0.2)) and m.error() and [m.error().name(), m.error().fatal()]))
    again.close()
    first.close()
    group = topic("group-mixed")
    first = member(group, name, "range")
    share([first], name)
    odd = member(group, name, "roundrobin")
    tell("group.no-common-assignor", until("a refusal", lambda: (first.poll(0.05), m := odd.poll(0.2)) and m and m.error() and m.error().name()))
    odd.close()
    first.close()
    short = Consumer(quiet | {"group.id": topic("short"), "session.timeout.ms": 10})
    short.subscribe([name])
    tell("group.short-session", until("a refusal", lambda: (m := short.poll(0.2)) and m.error() and m.error().name()))
    short.close()


def transactional(name, **more):
    producer = Producer(quiet | {"transactional.id": topic(name), "transaction.timeout.ms": 10_000} | more)
    producer.init_transactions(30)
    return producer


def transactions():
    name, source = create("transactions"), create("source")
    producer = transactional("t")
    producer.begin_transaction()
    deliver(producer, name, b"kept")
    producer.commit_transaction(30)
    producer.begin_transaction()
    deliver(producer, name, b"dropped")
    producer.abort_transaction(30)
    producer.begin_transaction()
    deliver(producer, name, b"open")
    plain = Producer(quiet)
    deliver(plain, name, b"behind")
    values = lambda isolation: [m.value().decode() for m in read(name, isolation=isolation)]
    tell("transaction.open", [values("read_committed"), values("read_uncommitted")])
    consumer = Consumer(quiet | {"group.id": topic("tx"), "enable.auto.commit": False})
    at = lambda: [[p.offset, p.metadata] for p in consumer.committed([TopicPartition(source, 0)], timeout=20)]
    producer.send_offsets_to_transaction([TopicPartition(source, 0, 5)], consumer.consumer_group_metadata(), 30)
    producer.commit_transaction(30)
    tell("transaction.committed", [values("read_committed"), at()])
    tell("transaction.offsets", [m.offset() for m in read(name)])
    producer.begin_transaction()
    deliver(producer, name, b"zombie")
    producer.send_offsets_to_transaction([TopicPartition(source, 0, 9)], consumer.consumer_group_metadata(), 30)
    other = transactional("t")
    tell("transaction.fenced", [deliver(producer, name, b"late"), refusal(lambda: producer.commit_transaction(30))])
    tell("transaction.after-the-fence", [values("read_committed"), at()])
    other.begin_transaction()
    other.commit_transaction(30)
    tell("transaction.empty", refusal(lambda: (other.begin_transaction(), other.abort_transaction(30))))
    hung = transactional("hung", **{"transaction.timeout.ms": 1000})
    hung.begin_transaction()
    deliver(hung, name, b"hung")
    deliver(plain, name, b"after the hung one")
    until("the hung one's abort", lambda: "after the hung one" in values("read_committed"))
    tell("transaction.hung", [values("read_committed"), refusal(lambda: hung.commit_transaction(30))])
    tell("transaction.too-long", refusal(lambda: transactional("long", **{"transaction.timeout.ms": 2_000_000})))


def avro():
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    schema = '{"type": "record", "name": "Hire", "fields": [{"name": "id", "type": "string"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}'
    registry = SchemaRegistryClient({"url": REGISTRY})
    name = create("avro")
    there = SerializationContext(name, MessageField.VALUE)
    data = {"id": "a", "at": 1_700_000_000_000}
    tell("avro.produce", deliver(Producer(quiet), name, AvroSerializer(registry, schema)(data, there)))
    back = AvroDeserializer(registry)(read(name)[0].value(), there)
    tell("avro.read", [back["id"], str(back["at"])])
    tell("avro.version", registry.get_latest_version(f"{name}-value").version)


records()
positions()
groups()
transactions()
if REGISTRY:
    avro()

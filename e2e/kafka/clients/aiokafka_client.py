"""aiokafka (a client of its own, in Python): producing, groups, transactions, administration."""
import asyncio
import logging

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from observe import BOOTSTRAP, tell, topic

logging.basicConfig(level=logging.WARNING)


async def refusal(awaited):
    try:
        await awaited
        return "ok"
    except KafkaError as problem:
        return type(problem).__name__


async def eventually(what, condition, seconds=30):
    for _ in range(seconds * 50):
        if found := await condition():
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError(what)


async def read(name, isolation="read_committed", until=None):
    consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, isolation_level=isolation, enable_auto_commit=False)
    await consumer.start()
    place = TopicPartition(name, 0)
    consumer.assign([place])
    await consumer.seek_to_beginning(place)
    # A reader of committed data knows the last stable offset, not where an open transaction ends.
    end = until if until is not None else (await consumer.end_offsets([place]))[place]
    found = []
    while await consumer.position(place) < end:
        for messages in (await consumer.getmany(timeout_ms=200)).values():
            found += messages
    await consumer.stop()
    return found


async def administration(admin, name):
    made = await admin.create_topics([NewTopic(name, 2, 1, topic_configs={"retention.ms": "1000000"}), NewTopic(topic("aio-one"), 1, 1)])
    tell("create", [error[1] for error in made.topic_errors])
    made = await admin.create_topics([NewTopic(name, 2, 1), NewTopic("no good", 1, 1)])
    tell("create.refused", [error[1] for error in made.topic_errors])
    grown = await admin.create_partitions({name: NewPartitions(3)})
    tell("partitions", [error[1] for error in grown.topic_errors])

    async def grown_topic():
        # Kafka's brokers learn of new partitions a moment after they were made.
        topics = await admin.describe_topics([name])
        return len(topics[0]["partitions"]) == 3 and topics

    described = await eventually("three partitions", grown_topic)
    tell("describe", [[d["error_code"], d["is_internal"], sorted(p["partition"] for p in d["partitions"])] for d in described])
    settings = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": None})])
    tell("settings", [[r[0], r[3].replace(name, "it"), [list(c[:3]) for c in r[4]]] for s in settings for r in s.resources])
    # For ever: `records` writes what is years old, and Kafka's retention would take it away before it is read.
    altered = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "-1"})])
    tell("settings.alter", [r[0] for a in ([altered] if not isinstance(altered, list) else altered) for r in a.resources])


async def records(name):
    async with AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True) as producer:
        sent = await producer.send_and_wait(name, b"one", key=b"k", partition=0, headers=[("a", b"1"), ("a", b"\xff")], timestamp_ms=1_700_000_000_000)
        tell("produce", [sent.partition, sent.offset, sent.timestamp, sent.timestamp_type, sent.log_start_offset])
        sent = await asyncio.gather(*[await producer.send(name, str(n).encode(), partition=0, timestamp_ms=1_700_000_001_000 + n) for n in range(200)])
        tell("produce.many", [s.offset for s in sent])
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        try:
            async with AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=codec) as producer:
                tell(f"produce.{codec}", (await producer.send_and_wait(name, codec.encode() * 100, partition=0)).offset)
        except (RuntimeError, ImportError):
            pass  # this codec's library is not installed
    found = await read(name)
    tell("read", [[m.offset, m.key and m.key.decode(), m.value.decode()[:10], m.timestamp if m.offset < 201 else 0] for m in found])
    tell("read.headers", [[k, v.hex()] for k, v in found[0].headers])
    async with AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, max_request_size=5_000_000) as producer:
        tell("produce.3MiB", await refusal(producer.send_and_wait(name, b"x" * 3 * 1024 * 1024, partition=0)))


async def groups(admin, name):
    group = topic("aio-group")
    consumer = AIOKafkaConsumer(name, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, client_id="aio",
                                heartbeat_interval_ms=200)
    await consumer.start()
    first = await consumer.getone()
    place = TopicPartition(name, 0)
    tell("group.read", [first.partition, first.offset, sorted(p.partition for p in consumer.assignment())])
    await consumer.commit({place: OffsetAndMetadata(3, "note")})
    tell("group.committed", [await consumer.committed(place), await consumer.committed(TopicPartition(name, 1))])
    found = await consumer.offsets_for_times({place: 1_700_000_001_100})
    tell("offsets-for-times", [[v.offset, v.timestamp] for v in found.values()])
    tell("offsets", [await consumer.beginning_offsets([place]) == {place: 0}, (await consumer.end_offsets([place]))[place]])
    described = await admin.describe_consumer_groups([group])
    tell("group.describe", [[g[0], g[2], g[3], g[4], [[m[1], m[2]] if len(m) == 5 else [m[2], m[3]] for m in g[5]]] for d in described for g in d.groups])
    offsets = await admin.list_consumer_group_offsets(group)
    tell("group.offsets", sorted([p.partition, o.offset, o.metadata] for p, o in offsets.items()))
    second = AIOKafkaConsumer(name, bootstrap_servers=BOOTSTRAP, group_id=group, heartbeat_interval_ms=200)
    await second.start()

    async def shared():
        sizes = sorted([len(consumer.assignment()), len(second.assignment())])
        return sizes == [1, 2] and sizes
    tell("group.two", await eventually("two shares", shared))
    await second.stop()

    async def alone():
        return len(consumer.assignment()) == 3
    tell("group.one-again", await eventually("one share", alone))
    await consumer.stop()
    listed = await admin.list_consumer_groups()
    tell("group.list", [g for g in listed if g[0] == group])
    deleted = await admin.delete_consumer_groups([group]) if hasattr(admin, "delete_consumer_groups") else "no such call"
    tell("group.delete", [d[1] if isinstance(d[1], int) else d[1].__name__ for d in deleted] if not isinstance(deleted, str) else deleted)


async def transactions(name, source):
    async with AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=topic("aio-tx"), transaction_timeout_ms=10_000) as producer:
        async with producer.transaction():
            await producer.send_and_wait(name, b"kept", partition=0)
            await producer.send_offsets_to_transaction({TopicPartition(source, 0): OffsetAndMetadata(2, "")}, topic("aio-source"))
        try:
            async with producer.transaction():
                await producer.send_and_wait(name, b"dropped", partition=0)
                raise RuntimeError("wanted")
        except RuntimeError:
            pass
        tell("transaction", [[m.value.decode() for m in await read(name, isolation)] for isolation in ("read_committed", "read_uncommitted")])
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"zombie", partition=0)
        async with AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=topic("aio-tx"), transaction_timeout_ms=10_000) as other:
            await other.begin_transaction()
            await other.commit_transaction()
            tell("transaction.fenced", await refusal(producer.commit_transaction()))
    tell("transaction.after", [m.value.decode() for m in await read(name)])


async def main():
    name = topic("aio")
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    await administration(admin, name)
    await records(name)
    await groups(admin, name)
    await admin.create_topics([NewTopic(topic("aio-tx"), 1, 1), NewTopic(topic("aio-source"), 1, 1)])
    await transactions(topic("aio-tx"), topic("aio-source"))
    deleted = await admin.delete_topics([name, topic("aio-none")])
    tell("delete", sorted(error[1] for error in deleted.topic_error_codes))
    await admin.close()


assert ConsumerRebalanceListener
asyncio.run(main())

"""confluent-kafka (librdkafka): topics, settings, offsets and groups by its AdminClient."""
from confluent_kafka import (ConsumerGroupTopicPartitions, ConsumerGroupState, IsolationLevel, KafkaError, KafkaException,
                             Producer, Consumer, TopicCollection, TopicPartition)
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType,
                                   ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourcePatternType, ResourceType)

from observe import BOOTSTRAP, tell, topic, until

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
T = topic("admin")


def outcome(call):
    """The value of a future, or the name of its error."""
    try:
        return call()
    except KafkaException as problem:
        return problem.args[0].name()
    except (ValueError, TypeError) as problem:
        return type(problem).__name__


def only(futures):
    # Not popped: the client fills this very dictionary later.
    return next(iter(futures.values()))


def of_all(futures, show=lambda value: value and str(value) or "ok"):
    return sorted(str(outcome(lambda f=f: show(f.result(20)))) for f in futures.values())


def create(name, *, partitions=3, replication=1, config=None, **options):
    new = NewTopic(name, num_partitions=partitions, replication_factor=replication, config=config or {})
    return of_all(admin.create_topics([new], **options), lambda _: "ok")


def visible(name, count):
    until("the topic", lambda: name in (t := admin.list_topics(timeout=10).topics) and len(t[name].partitions) == count)


def settings(resource=None):
    resource = resource or ConfigResource(ConfigResource.Type.TOPIC, T)
    return only(admin.describe_configs([resource])).result(20)


def settled(name, value):
    """The setting as it is shown once a change has reached the broker that is asked (or has not, for long enough)."""
    try:
        until(name, lambda: settings()[name].value == value, 5)
    except TimeoutError:
        pass
    return settings()[name].value


def alter(*entries, call=admin.incremental_alter_configs, **options):
    resource = ConfigResource(ConfigResource.Type.TOPIC, T, incremental_configs=list(entries))
    if call == admin.alter_configs:
        resource = ConfigResource(ConfigResource.Type.TOPIC, T, set_config={e.name: e.value for e in entries})
    return of_all(call([resource], **options))


def entry(name, value, operation=AlterConfigOpType.SET):
    return ConfigEntry(name, value, incremental_operation=operation)


def main():
    tell("create", create(T, config={"retention.ms": "1000000"}))
    visible(T, 3)
    tell("create.exists", create(T))
    tell("create.bad-name", create("no good"))
    tell("create.long-name", create("x" * 250))
    tell("create.dots", create(".."))
    tell("create.no-partitions", create(topic("zero"), partitions=0))
    tell("create.three-replicas", create(topic("three"), replication=3))
    tell("create.unknown-setting", create(topic("unknown"), config={"retention.mss": "1"}))
    tell("create.wrong-setting", create(topic("wrong"), config={"retention.ms": "soon"}))
    tell("create.small-segment", create(topic("small"), config={"segment.bytes": "100"}))
    for name, value in [("cleanup.policy", "shred"), ("min.insync.replicas", "0"), ("compression.type", "rar"), ("max.message.bytes", "-1"),
                        ("min.cleanable.dirty.ratio", "1.5"), ("message.timestamp.type", "Never"), ("segment.ms", "0"),
                        ("flush.messages", "0"), ("delete.retention.ms", "-1"), ("index.interval.bytes", "-1"), ("preallocate", "maybe"),
                        ("file.delete.delay.ms", "-1"), ("compression.zstd.level", "99"), ("compression.zstd.level", "-5"), ("compression.gzip.level", "0"), ("compression.gzip.level", "-1"),
                        ("compression.lz4.level", "18"), ("segment.index.bytes", "3"), ("segment.jitter.ms", "-1"), ("flush.ms", "-1"),
                        ("retention.bytes", "-2"), ("retention.ms", "-2"), ("local.retention.ms", "-3"), ("local.retention.bytes", "-3"),
                        ("max.compaction.lag.ms", "0"), ("min.compaction.lag.ms", "-1"), ("message.timestamp.before.max.ms", "-1"),
                        ("message.timestamp.after.max.ms", "-1"), ("cleanup.policy", ""), ("cleanup.policy", "delete,delete"),
                        ("cleanup.policy", "compact, delete"), ("follower.replication.throttled.replicas", "x"),
                        ("leader.replication.throttled.replicas", "*"), ("min.cleanable.dirty.ratio", "0"), ("preallocate", "TRUE"),
                        ("retention.ms", " 5 "), ("message.format.version", "2.0"), ("remote.storage.enable", "true")]:
        tell(f"create.setting.{name}={value}", create(topic(f"set-{name}{value}"), config={name: value}))
    tell("create.validate-only", [create(topic("never"), validate_only=True), topic("never") in admin.list_topics(timeout=10).topics])
    tell("create.default-partitions", create(topic("default"), partitions=-1))

    tell("partitions.more", of_all(admin.create_partitions([NewPartitions(T, 5)])))
    visible(T, 5)
    tell("partitions.fewer", of_all(admin.create_partitions([NewPartitions(T, 2)])))
    tell("partitions.same", of_all(admin.create_partitions([NewPartitions(T, 5)])))
    tell("partitions.no-topic", of_all(admin.create_partitions([NewPartitions(topic("none"), 5)])))
    described = only(admin.describe_topics(TopicCollection([T]))).result(20)
    tell("topic.describe", [described.name, described.is_internal,
                            [[p.id, p.leader.id is not None, len(p.replicas), len(p.isr)] for p in described.partitions]])
    tell("topic.describe.none", of_all(admin.describe_topics(TopicCollection([topic("none")]))))
    cluster = admin.describe_cluster().result(20)
    tell("cluster", [len(cluster.nodes), cluster.controller is not None, bool(cluster.cluster_id)])

    shown = settings()
    for e in sorted(shown.values(), key=lambda e: e.name):
        synonyms = [[s.name, s.value, s.source] for s in e.synonyms.values()]
        tell(f"settings.{e.name}", [e.value, e.source, e.is_default, e.is_read_only, e.is_sensitive, synonyms])
    tell("settings.no-topic", outcome(lambda: settings(ConfigResource(ConfigResource.Type.TOPIC, topic("none"))) and "ok"))
    tell("settings.set", [alter(entry("retention.ms", "2000000"), entry("max.message.bytes", "100000")), settled("retention.ms", "2000000")])
    tell("settings.append", [alter(entry("cleanup.policy", "compact", AlterConfigOpType.APPEND)), settled("cleanup.policy", "delete,compact")])
    tell("settings.subtract", [alter(entry("cleanup.policy", "delete", AlterConfigOpType.SUBTRACT)), settled("cleanup.policy", "compact")])
    tell("settings.append-to-number", alter(entry("retention.ms", "1", AlterConfigOpType.APPEND)))
    tell("settings.delete", [alter(entry("retention.ms", None, AlterConfigOpType.DELETE)), settled("retention.ms", "604800000")])
    tell("settings.unknown", alter(entry("retention.mss", "1")))
    tell("settings.wrong", alter(entry("retention.ms", "-7")))
    tell("settings.validate-only", [alter(entry("retention.ms", "7", AlterConfigOpType.SET), validate_only=True), settings()["retention.ms"].value])
    tell("settings.replace", [alter(ConfigEntry("segment.ms", "5000000"), call=admin.alter_configs), settled("segment.ms", "5000000"),
                              [settings()[n].value for n in ("segment.ms", "max.message.bytes", "cleanup.policy")]])

    positions()
    groups()
    tell("scram", of_all({"all": admin.describe_user_scram_credentials()}, lambda v: sorted(v)))
    binding = AclBinding(ResourceType.TOPIC, T, ResourcePatternType.LITERAL, "User:x", "*", AclOperation.READ, AclPermissionType.ALLOW)
    anything = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    tell("acls.create", of_all(admin.create_acls([binding])))
    tell("acls.describe", of_all({"all": admin.describe_acls(anything)}))
    tell("acls.delete", of_all(admin.delete_acls([anything])))
    tell("delete", of_all(admin.delete_topics([T])))
    tell("delete.again", of_all(admin.delete_topics([T])))


def positions():
    name = topic("positions")
    create(name, partitions=1, config={"retention.ms": "-1"})
    visible(name, 1)
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for number in range(10):
        producer.produce(name, value=str(number), partition=0, timestamp=1_700_000_000_000 + number * 1000)
    producer.flush(20)

    def at(spec, isolation=IsolationLevel.READ_UNCOMMITTED):
        found = only(admin.list_offsets({TopicPartition(name, 0): spec}, isolation_level=isolation))
        return outcome(lambda: [(r := found.result(20)).offset, r.timestamp])

    tell("offsets.earliest", at(OffsetSpec.earliest()))
    tell("offsets.latest", at(OffsetSpec.latest()))
    tell("offsets.latest-committed", at(OffsetSpec.latest(), IsolationLevel.READ_COMMITTED))
    tell("offsets.at-time", at(OffsetSpec.for_timestamp(1_700_000_003_500)))
    tell("offsets.at-late-time", at(OffsetSpec.for_timestamp(1_800_000_000_000)))
    tell("offsets.max-timestamp", at(OffsetSpec.max_timestamp()))
    gone = TopicPartition(name, 0, 4)
    tell("records.delete", [outcome(lambda: only(admin.delete_records([gone])).result(20).low_watermark), at(OffsetSpec.earliest())])
    gone = TopicPartition(name, 0, 99)
    tell("records.delete-too-many", outcome(lambda: only(admin.delete_records([gone])).result(20).low_watermark))
    tell("records.delete-no-topic", outcome(lambda: only(admin.delete_records([TopicPartition(topic("none"), 0, 1)])).result(20).low_watermark))


def groups():
    name, group = topic("positions"), topic("group")
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest", "client.id": "one"})
    consumer.subscribe([name])
    until("a record", lambda: consumer.poll(0.1))
    found = admin.describe_consumer_groups([group])[group].result(20)
    tell("group.describe", [found.group_id == group, found.is_simple_consumer_group, found.partition_assignor, found.state.name, found.type.name,
                            [[m.client_id, m.host, m.group_instance_id, [[p.topic, p.partition] for p in m.assignment.topic_partitions]] for m in found.members]])

    def offsets(*places):
        asked = ConsumerGroupTopicPartitions(group, list(places) or None)
        found = outcome(lambda: admin.list_consumer_group_offsets([asked])[group].result(20))
        return found if isinstance(found, str) else sorted([p.topic, p.partition, p.offset, p.metadata] for p in found.topic_partitions)

    def move(offset):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, offset, metadata="moved")])
        found = outcome(lambda: admin.alter_consumer_group_offsets([asked])[group].result(20))
        return found if isinstance(found, str) else [[p.partition, p.offset, p.error and p.error.name()] for p in found.topic_partitions]

    tell("group.offsets.none", offsets(TopicPartition(name, 0)))
    tell("group.offsets.move-while-used", move(5))
    tell("group.delete-while-used", of_all(admin.delete_consumer_groups([group])))
    consumer.commit(offsets=[TopicPartition(name, 0, 7, metadata="note")], asynchronous=False)
    tell("group.offsets", offsets(TopicPartition(name, 0)))
    consumer.close()
    until("the group to be empty", lambda: admin.describe_consumer_groups([group])[group].result(20).state == ConsumerGroupState.EMPTY)
    tell("group.offsets.move", move(6))
    tell("group.offsets.all", offsets())
    listed = admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(20)
    tell("group.list", sorted([g.group_id, g.is_simple_consumer_group, g.state.name, g.type.name] for g in listed.valid if g.group_id == group))
    tell("group.delete", of_all(admin.delete_consumer_groups([group])))
    tell("group.delete-again", of_all(admin.delete_consumer_groups([group])))
    gone = outcome(lambda: admin.describe_consumer_groups([group])[group].result(20))
    tell("group.describe-gone", gone if isinstance(gone, str) else gone.state.name)


assert KafkaError
main()

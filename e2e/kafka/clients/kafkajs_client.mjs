// kafkajs: producing, groups, transactions, administration; with a registry's URL also Avro by its registry client.
// Each case prints one line, `name: what was observed` as JSON; see observe.py.
import { createRequire } from "node:module";
// The packages lie in a folder of the suite's cache, not beside this file.
const require = createRequire(process.env.CLIENT_MODULES + "/");
const { Kafka, CompressionTypes, ConfigResourceTypes, AclResourceTypes, AclOperationTypes, AclPermissionTypes, ResourcePatternTypes, logLevel } = require("kafkajs");

const [bootstrap, prefix, registryUrl] = process.argv.slice(2);
const topic = (name) => `${prefix}-${name}`;
const tell = (name, seen) => console.log(`${name}: ${JSON.stringify(seen ?? null).replaceAll(prefix, "@")}`);
const kafka = new Kafka({ clientId: "js", brokers: [bootstrap], logLevel: logLevel.WARN, retry: { retries: 2, initialRetryTime: 50 } });
const admin = kafka.admin();

async function outcome(work) {
  try {
    return (await work()) ?? "ok";
  } catch (problem) {
    const cause = problem.errors ? problem.errors[0] : problem;
    return cause.type ?? cause.name;
  }
}

async function until(what, condition) {
  const end = Date.now() + 30000;
  while (Date.now() < end) {
    const found = await condition();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited too long for ${what}`);
}

// Reads so many records with a group of its own, then leaves.
async function read(name, count, options = {}) {
  const consumer = kafka.consumer({ groupId: topic(`reader-${Math.random()}`), maxWaitTimeInMs: 100, ...options });
  await consumer.connect();
  await consumer.subscribe({ topic: name, fromBeginning: true });
  const found = [];
  await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => { found.push(message); } });
  await until(`${count} records of ${name}`, () => found.length >= count);
  await consumer.disconnect();
  return found.sort((a, b) => Number(a.offset) - Number(b.offset));
}

async function administration(name) {
  const make = (topics, more = {}) => outcome(() => admin.createTopics({ topics, waitForLeaders: true, ...more }));
  tell("create", await make([{ topic: name, numPartitions: 2, configEntries: [{ name: "retention.ms", value: "-1" }] }]));
  tell("create.again", await make([{ topic: name }]));
  tell("create.bad", await make([{ topic: topic("bad"), replicationFactor: 3 }]));
  tell("create.validate-only", await make([{ topic: topic("never"), numPartitions: 1 }], { validateOnly: true, waitForLeaders: false }));
  tell("partitions", await outcome(() => admin.createPartitions({ topicPartitions: [{ topic: name, count: 3 }] })));
  const partitions = await until("the partitions", async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
    return topics[0].partitions.length === 3 && topics[0].partitions;
  });
  tell("metadata", partitions.map((p) => [p.partitionId, p.partitionErrorCode, p.replicas.length, p.isr.length, p.offlineReplicas?.length ?? null]).sort());
  tell("metadata.none", await outcome(() => admin.fetchTopicMetadata({ topics: [topic("none")] })));
  const cluster = await admin.describeCluster();
  tell("cluster", [cluster.brokers.length, cluster.controller !== null, cluster.clusterId.length > 0]);
  const resource = { type: ConfigResourceTypes.TOPIC, name };
  const settings = async () => (await admin.describeConfigs({ includeSynonyms: true, resources: [{ ...resource, configNames: ["retention.ms", "segment.ms"] }] })).resources[0];
  tell("settings", (await settings()).configEntries.map((e) => [e.configName, e.configValue, e.isDefault, e.readOnly, e.isSensitive, e.configSource, e.configSynonyms.map((s) => [s.configName, s.configValue, s.configSource])]));
  tell("settings.alter", await outcome(async () => (await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: "segment.ms", value: "7000000" }, { name: "retention.ms", value: "-1" }] }] })).resources.map((r) => r.errorCode)));
  tell("settings.altered", await until("the setting", async () => (await settings()).configEntries.find((e) => e.configName === "segment.ms" && e.configValue === "7000000")?.configValue));
  tell("settings.unknown", await outcome(() => admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: "no.such", value: "1" }] }] })));
  const acl = { resourceType: AclResourceTypes.TOPIC, resourceName: name, resourcePatternType: ResourcePatternTypes.LITERAL, principal: "User:x", host: "*", operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.ALLOW };
  tell("acls.create", await outcome(() => admin.createAcls({ acl: [acl] })));
  tell("acls.describe", await outcome(() => admin.describeAcls(acl)));
  tell("acls.delete", await outcome(() => admin.deleteAcls({ filters: [acl] })));
}

async function records(name) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const sent = await producer.send({ topic: name, messages: [{ partition: 0, key: "k", value: "one", headers: { a: ["1", "2"], bin: Buffer.from([0, 255]) }, timestamp: "1700000000000" }] });
  tell("produce", sent.map((s) => [s.partition, s.errorCode, s.baseOffset, s.logAppendTime, s.logStartOffset]));
  const many = Array.from({ length: 200 }, (_, n) => ({ partition: 0, value: `${n}`, timestamp: `${1700000001000 + n}` }));
  tell("produce.many", (await producer.send({ topic: name, messages: many })).map((s) => s.baseOffset));
  tell("produce.tombstone", (await producer.send({ topic: name, messages: [{ partition: 0, key: "k", value: null }] })).map((s) => s.baseOffset));
  tell("produce.3MiB", await outcome(() => producer.send({ topic: name, messages: [{ partition: 0, value: "x".repeat(3 * 1024 * 1024) }] })));
  await producer.disconnect();
  const packed = kafka.producer();
  await packed.connect();
  const batch = await packed.sendBatch({ compression: CompressionTypes.GZIP, acks: 1, topicMessages: [{ topic: name, messages: [{ partition: 0, value: "packed".repeat(100) }, { partition: 1, value: "other" }] }] });
  tell("produce.gzip", batch.map((s) => [s.partition, s.errorCode, s.baseOffset]).sort());
  tell("produce.none", await outcome(() => packed.send({ topic: topic("none"), messages: [{ value: "x" }] })));
  await packed.disconnect();
  const found = (await read(name, 204)).filter((m) => m.value?.toString() !== "other");
  tell("read", found.map((m) => [m.offset, m.key?.toString() ?? null, m.value?.toString().slice(0, 10) ?? null]));
  tell("read.headers", Object.entries(found[0].headers).map(([k, v]) => [k, [v].flat().map((b) => b.toString("hex"))]));
  const offsets = await admin.fetchTopicOffsets(name);
  tell("offsets", offsets.map((o) => [o.partition, o.offset, o.high, o.low]).sort());
  tell("offsets.by-time", (await admin.fetchTopicOffsetsByTimestamp(name, 1700000001100)).map((o) => [o.partition, o.partition === 0 && o.offset]).sort());
  tell("records.delete", await outcome(() => admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: "5" }] })));
  tell("records.deleted", (await admin.fetchTopicOffsets(name)).map((o) => [o.partition, o.low]).sort());
  tell("records.delete-too-many", await outcome(() => admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: "9999" }] })));
}

async function groups(name) {
  const groupId = topic("js-group");
  const member = async () => {
    const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 100, maxWaitTimeInMs: 100, rebalanceTimeout: 10000 });
    let mine = [];
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { mine = payload.memberAssignment[name] ?? []; });
    await consumer.connect();
    await consumer.subscribe({ topic: name, fromBeginning: true });
    await consumer.run({ eachMessage: async () => {} });
    return { consumer, share: () => mine.length };
  };
  const first = await member();
  tell("group.one", await until("all partitions", () => first.share() === 3 && 3));
  const second = await member();
  tell("group.two", (await until("two shares", () => { const s = [first.share(), second.share()].sort(); return s.join() === "1,2" && s; })));
  const described = await until("two members that are stable", async () => { const g = (await admin.describeGroups([groupId])).groups[0]; return g.state === "Stable" && g.members.length === 2 && g; });
  tell("group.describe", [described.errorCode, described.protocol, described.protocolType, described.state, described.members.map((m) => [m.clientId, m.clientHost])]);
  tell("group.delete-while-used", await outcome(() => admin.deleteGroups([groupId])));
  await second.consumer.disconnect();
  tell("group.one-again", await until("all partitions again", () => first.share() === 3 && 3));
  await first.consumer.commitOffsets([{ topic: name, partition: 0, offset: "9", metadata: "note" }]);
  tell("group.offsets", (await admin.fetchOffsets({ groupId, topics: [name] })).map((t) => t.partitions.filter((p) => p.partition === 0)));
  await first.consumer.disconnect();
  tell("group.set-offsets", await outcome(() => admin.setOffsets({ groupId, topic: name, partitions: [{ partition: 0, offset: "7" }] })));
  tell("group.offsets-set", (await admin.fetchOffsets({ groupId, topics: [name] })).map((t) => t.partitions.filter((p) => p.partition === 0).map((p) => p.offset)));
  tell("group.list", (await admin.listGroups()).groups.filter((g) => g.groupId === groupId).map((g) => [g.protocolType]));
  tell("group.delete", await outcome(async () => (await admin.deleteGroups([groupId])).map((g) => g.errorCode ?? 0)));
  tell("group.delete-again", await outcome(() => admin.deleteGroups([groupId])));
}

async function transactions(name) {
  await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] });
  const producer = kafka.producer({ transactionalId: topic("js-tx"), idempotent: true, maxInFlightRequests: 1, transactionTimeout: 10000 });
  await producer.connect();
  const kept = await producer.transaction();
  await kept.send({ topic: name, messages: [{ value: "kept" }] });
  await kept.sendOffsets({ consumerGroupId: topic("js-source"), topics: [{ topic: name, partitions: [{ partition: 0, offset: "1" }] }] });
  await kept.commit();
  const dropped = await producer.transaction();
  await dropped.send({ topic: name, messages: [{ value: "dropped" }] });
  await dropped.abort();
  const last = await producer.transaction();
  await last.send({ topic: name, messages: [{ value: "last" }] });
  await last.commit();
  tell("transaction.committed", (await read(name, 2)).map((m) => [m.offset, m.value.toString()]));
  tell("transaction.all", (await read(name, 3, { readUncommitted: true })).map((m) => [m.offset, m.value.toString()]));
  tell("transaction.offsets", (await admin.fetchOffsets({ groupId: topic("js-source"), topics: [name] })).map((t) => t.partitions.map((p) => p.offset)));
  const zombie = await producer.transaction();
  await zombie.send({ topic: name, messages: [{ value: "zombie" }] });
  const other = kafka.producer({ transactionalId: topic("js-tx"), idempotent: true, maxInFlightRequests: 1, transactionTimeout: 10000 });
  await other.connect();
  const next = await other.transaction();
  await next.send({ topic: name, messages: [{ value: "next" }] });
  await next.commit();
  tell("transaction.fenced", await outcome(() => zombie.commit()));
  tell("transaction.after-the-fence", (await read(name, 3)).map((m) => m.value.toString()));
  await other.disconnect();
  await producer.disconnect();
}

async function avro() {
  const { SchemaRegistry, SchemaType } = require("@kafkajs/confluent-schema-registry");
  const registry = new SchemaRegistry({ host: registryUrl });
  const schema = JSON.stringify({ type: "record", name: "Hire", namespace: "js", fields: [{ name: "id", type: "string" }] });
  const { id } = await registry.register({ type: SchemaType.AVRO, schema }, { subject: topic("js-avro-value") });
  const bytes = await registry.encode(id, { id: "a" });
  tell("avro", [bytes[0], await registry.decode(bytes), (await registry.getLatestSchemaId(topic("js-avro-value"))) === id]);
}

const name = topic("js");
await admin.connect();
await administration(name);
await records(name);
await groups(name);
await transactions(topic("js-tx"));
if (registryUrl) await avro();
tell("delete", await outcome(() => admin.deleteTopics({ topics: [name] })));
tell("delete.again", await outcome(() => admin.deleteTopics({ topics: [name] })));
await admin.disconnect();

// Acts on each hire once, from the ledger: what a system does that onboards people.
//
//     npm install kafkajs lz4js @kafkajs/confluent-schema-registry
//     node hires.mjs localhost:9092 http://localhost:8081
import { SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import kafkajs from "kafkajs";
import lz4 from "lz4js";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
// Of the compressions kafkajs brings gzip only; Hirewire writes LZ4.
CompressionCodecs[CompressionTypes.LZ4] = () => ({ decompress: async (bytes) => Buffer.from(lz4.decompress(bytes)) });

const [brokers, host] = process.argv.slice(2);
const registry = new SchemaRegistry({ host });
const kafka = new Kafka({ clientId: "example-hires", brokers: brokers.split(","), logLevel: logLevel.ERROR });
// kafkajs reads committed records only unless it is told otherwise; other clients need `isolation.level=read_committed`.
const consumer = kafka.consumer({ groupId: "example-hires" });

// A consumer that is killed between its work and its commit sees the record again: what it does must bear that. Here a set
// that forgets; in earnest a table with the event's id as its key, written in one transaction with the work.
const done = new Set();

await consumer.connect();
await consumer.subscribe({ topic: "ats.stage-change.v1", fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    const change = await registry.decode(message.value);
    // LIVE: it moved the present. A CORRECTION tells what was learnt late of the past, and nobody is to act on that again.
    if (change.revision !== "LIVE" || !["HIRE", "UNHIRE"].includes(change.change_type)) return;
    if (done.has(change.meta.event_id)) return;
    console.log(JSON.stringify({ change: change.change_type, application: change.meta.remote_id, event: change.meta.event_id }));
    done.add(change.meta.event_id);
  },
});

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => consumer.disconnect().then(() => process.exit(0)));

// kafkajs' registry client against a schema registry. Each case prints one line, `name: what was observed` as JSON; see observe.py.
import { createRequire } from "node:module";
// The packages lie in a folder of the suite's cache, not beside this file.
const require = createRequire(process.env.CLIENT_MODULES + "/");
const { SchemaRegistry, SchemaType, COMPATIBILITY } = require("@kafkajs/confluent-schema-registry");

const [host, prefix] = process.argv.slice(2);
const tell = (name, seen) => console.log(`${name}: ${JSON.stringify(seen ?? null).replaceAll(prefix, "@")}`);
const registry = new SchemaRegistry({ host });
const record = (...fields) => ({ type: SchemaType.AVRO, schema: JSON.stringify({ type: "record", name: "Hire", namespace: "js", fields }) });
const outcome = async (work) => work.then(() => "ok", (problem) => [problem.name, problem.status ?? null]);
const id = { name: "id", type: "string" };
const subject = `${prefix}-hire-value`;

const first = await registry.register(record(id), { subject });
tell("register.again", (await registry.register(record(id), { subject })).id === first.id);
const bytes = await registry.encode(first.id, { id: "a" });
tell("encode", [bytes[0], bytes.subarray(5).toString("hex")]);
// Another client has nothing in its cache.
tell("decode", await new SchemaRegistry({ host }).decode(bytes));
const second = await registry.register(record(id, { name: "at", type: ["null", "long"], default: null }), { subject });
tell("register.next", second.id !== first.id);
tell("latest", (await registry.getLatestSchemaId(subject)) === second.id);
tell("version", (await registry.getRegistryId(subject, 1)) === first.id);
tell("look-up", (await registry.getRegistryIdBySchema(subject, record(id))) === first.id);
tell("register.incompatible", await outcome(registry.register(record({ name: "id", type: "int" }), { subject })));
tell("register.another-level", await outcome(registry.register(record(id), { subject, compatibility: COMPATIBILITY.FULL })));
tell("register.no-schema", await outcome(registry.register({ type: SchemaType.AVRO, schema: '{"type": "record"}' }, { subject: `${prefix}-bad` })));
tell("decode.unknown", await outcome(new SchemaRegistry({ host, retry: { retries: 0 } }).decode(Buffer.from([0, 0, 15, 66, 63, 2, 97]))));

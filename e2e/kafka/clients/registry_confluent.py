"""confluent-kafka's own Avro serializer and registry client against a schema registry."""
import sys

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from observe import PREFIX, tell, topic

V1 = '{"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "a", "type": "int"}]}'
V2 = '{"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"], "default": null}]}'
BAD = '{"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "a", "type": "string"}]}'
client = SchemaRegistryClient({"url": sys.argv[1]})


def outcome(call, *args, **options):
    """What a call gives, or the code of its refusal."""
    try:
        return call(*args, **options)
    except SchemaRegistryError as error:
        return f"{error.http_status_code} {error.error_code}"


def avro(text, kind="AVRO", references=()):
    return Schema(text, kind, list(references))


def schema_id(record):
    return int.from_bytes(record[1:5], "big")


def serializing():
    there = SerializationContext(topic("topic/1"), MessageField.VALUE)
    old = AvroSerializer(client, V1)({"a": 7}, there)
    tell("serialize", [old[:1].hex(), old[5:].hex()])
    tell("deserialize.as-reader", AvroDeserializer(client, V2)(old, there))
    new = AvroSerializer(client, V2)({"a": 8, "b": "ü"}, there)
    tell("deserialize.as-writer", AvroDeserializer(client)(new, there))
    subject = topic("topic/1-value")
    latest = client.get_latest_version(subject)
    tell("latest", [latest.version, latest.schema_id == schema_id(new)])
    tell("version", client.get_version(subject, 1).schema_id == schema_id(old))
    only = {"auto.register.schemas": False, "use.latest.version": False}
    tell("serialize.registered-only", AvroSerializer(client, V1, conf=only)({"a": 7}, there) == old)
    tell("serialize.not-registered", outcome(lambda: AvroSerializer(client, BAD, conf=only)({"a": "x"}, there)))
    use_latest = {"auto.register.schemas": False, "use.latest.version": True}
    tell("serialize.latest", schema_id(AvroSerializer(client, V1, conf=use_latest)({"a": 7, "b": None}, there)) == latest.schema_id)
    normalized = AvroSerializer(client, V2, conf={"normalize.schemas": True})({"a": 8, "b": None}, SerializationContext(topic("normal"), MessageField.VALUE))
    tell("serialize.normalized", AvroDeserializer(client)(normalized, there))
    return subject


def reading(subject):
    tell("subjects", sorted(one for one in client.get_subjects() if one.startswith(PREFIX)))
    tell("versions", client.get_versions(subject))
    tell("look-up", client.lookup_schema(subject, avro(V1)).version)
    tell("versions.none", outcome(client.get_versions, topic("none")))


def levels(subject):
    tell("level.unset", outcome(client.get_compatibility, subject))
    tell("level.set", outcome(client.set_compatibility, subject, "FULL_TRANSITIVE"))
    tell("level", outcome(client.get_compatibility, subject))
    tell("compatible", [client.test_compatibility(subject, avro(V2)), client.test_compatibility(subject, avro(BAD))])
    tell("register.incompatible", outcome(client.register_schema, subject, avro(BAD)))
    tell("register.no-schema", outcome(client.register_schema, subject, avro("{")))


def references():
    client.register_schema(topic("e"), avro('{"type": "enum", "name": "E", "namespace": "n", "symbols": ["X"]}'))
    outer = avro('{"type": "record", "name": "O", "namespace": "n", "fields": [{"name": "e", "type": "n.E"}]}', references=[SchemaReference("n.E", topic("e"), 1)])
    there = SerializationContext(topic("o"), MessageField.VALUE)
    tell("reference", AvroDeserializer(client)(AvroSerializer(client, outer)({"e": "X"}, there), there))
    tell("reference.in-use", outcome(client.delete_subject, topic("e")))


def deleting(subject):
    tell("delete.version", client.delete_version(subject, 1))
    tell("delete.subject", client.delete_subject(subject))
    tell("delete.for-good", client.delete_subject(subject, permanent=True))
    tell("delete.left", subject in client.get_subjects())


subject = serializing()
reading(subject)
levels(subject)
references()
deleting(subject)

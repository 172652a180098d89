"""confluent-kafka's own Avro serializer and registry client against the registry at argv[1]."""
import sys

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

V1 = '{"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "a", "type": "int"}]}'
V2 = '{"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"], "default": null}]}'
BAD = '{"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "a", "type": "string"}]}'


def refused(code, call, *args, **options):
    try:
        call(*args, **options)
    except SchemaRegistryError as error:
        assert error.error_code == code, f"{call.__name__}: {error.error_code}, expected {code}"
        return
    raise AssertionError(f"{call.__name__} was not refused")


client = SchemaRegistryClient({"url": sys.argv[1]})

# The serializer registers, the deserializer reads, with the reader's schema.
context = SerializationContext("topic/1", MessageField.VALUE)
old = AvroSerializer(client, V1)({"a": 7}, context)
assert old[:1] == b"\x00" and old[5:] == b"\x0e", old
assert AvroDeserializer(client, V2)(old, context) == {"a": 7, "b": None}
new = AvroSerializer(client, V2)({"a": 8, "b": "ü"}, context)
assert AvroDeserializer(client)(new, context) == {"a": 8, "b": "ü"}

# Look-ups.
subject = "topic/1-value"
assert client.get_subjects() == [subject]
assert client.get_versions(subject) == [1, 2]
latest = client.get_latest_version(subject)
assert (latest.version, latest.schema_id) == (2, int.from_bytes(new[1:5], "big"))
assert client.lookup_schema(subject, Schema(V1, "AVRO")).version == 1
assert client.get_version(subject, 1).schema_id == int.from_bytes(old[1:5], "big")
assert "namespace" in client.get_schema(latest.schema_id).schema_str

# Levels and compatibility.
refused(40408, client.get_compatibility, subject)
client.set_compatibility(subject, "FULL_TRANSITIVE")
assert client.get_compatibility(subject) == "FULL_TRANSITIVE"
assert client.test_compatibility(subject, Schema(V2, "AVRO"))
assert not client.test_compatibility(subject, Schema(BAD, "AVRO"))
refused(409, client.register_schema, subject, Schema(BAD, "AVRO"))
refused(42201, client.register_schema, subject, Schema("{", "AVRO"))
refused(42201, client.register_schema, subject, Schema('{"type": "object"}', "JSON"))

# References.
client.register_schema("e", Schema('{"type": "enum", "name": "E", "namespace": "n", "symbols": ["X"]}', "AVRO"))
outer = Schema('{"type": "record", "name": "O", "namespace": "n", "fields": [{"name": "e", "type": "n.E"}]}', "AVRO",
               [SchemaReference("n.E", "e", 1)])
context = SerializationContext("o", MessageField.VALUE)
assert AvroDeserializer(client)(AvroSerializer(client, outer)({"e": "X"}, context), context) == {"e": "X"}
refused(42206, client.delete_subject, "e")

# Deletion.
refused(40401, client.get_versions, "none")
assert client.delete_version(subject, 1) == 1
assert client.delete_subject(subject) == [2]
assert client.delete_subject(subject, permanent=True) == [1, 2]
assert subject not in client.get_subjects()
print("ok")

//! Compiles a mapping file against an Avro schema into a plan; applies it: payload bytes in, Avro field bytes out.

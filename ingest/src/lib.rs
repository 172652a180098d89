//! Ingest: webhooks and polls in, raw events out.

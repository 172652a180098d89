//! Normalize: raw events in, canonical records and the stage-change ledger out, exactly once.

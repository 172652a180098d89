//! Route: stage changes out to sinks, in key order, each sink on its own.

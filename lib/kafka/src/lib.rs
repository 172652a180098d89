//! The only crate that names rdkafka: settings, producer, transactional partition workers, group consumer, tables, admin, self-check.

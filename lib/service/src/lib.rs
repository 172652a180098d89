//! What every service process shares: settings file, secrets, telemetry, admin port, shutdown.

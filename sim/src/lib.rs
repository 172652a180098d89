//! Offline simulators of vendor APIs and of the receiving systems, with their true history.

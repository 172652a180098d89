//! The guard, checked at the socket.

//! The client over real QUIC on port 0, against a server that does what each test tells it.

#![allow(clippy::unwrap_used, reason = "the allowance for tests does not reach their helpers")]

mod connecting;
mod hostile;
mod nodes;
mod resuming;
mod server;
mod typing;

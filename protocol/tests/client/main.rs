//! The client over real QUIC on port 0, against a server that does what each test tells it.

mod connecting;
mod hostile;
mod resuming;
mod server;

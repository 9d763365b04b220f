//! What a node asks another one, over QUIC, on the port that clients use: the records of its journal, which are the same on every
//! node. The ALPN tells nodes from clients. Who has not shown within the TLS connection that it has the cluster's key
//! (`proof`) is not listened to; then one question is asked, in a frame of its own (`wire`), and answered.
//! Imports the roster and the journal; knows nothing of what the records mean.

mod ask;
mod door;
mod fetch;
mod outline;
mod peers;
mod proof;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

pub use ask::Asker;
pub use door::Door;
pub use fetch::{FetchError, Progress, epochs, fetch};
pub use outline::common;
pub use wire::{ALPN, Broken, Refused};

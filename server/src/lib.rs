//! `quipd`, the QUIC chat server of Quip: start it and stop it.
//!
//! A message passes through `session` → `log` → `pipeline` (`engine`, journal, `feed`) → `session`; see
//! ARCHITECTURE.md.

pub mod cli;
pub mod cluster;
pub mod config;
pub mod engine;
pub mod feed;
pub mod link;
pub mod log;
pub mod node;
pub mod ops;
pub mod pipeline;
pub mod session;
pub mod start;

pub use config::{Config, LimitsConfig, Registration};
pub use pipeline::stopping::Stopping;
pub use start::{Running, StartError, start};

//! What tests of several nodes share: who keeps their log, what happened to them, and whether that may happen.

pub mod checker;
pub mod contract;
pub mod fault;
pub mod history;
pub mod model;
pub mod redis;

pub use checker::{Verdict, check};
pub use fault::Fault;
pub use history::{Acked, Entry, History, NodeLog, Outcome, Reading, Seen, Sent};
pub use model::Model;
pub use redis::Redis;

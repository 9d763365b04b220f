//! What tests of several nodes share: real ones and a real Redis, what happened to them, and whether that may happen.

pub mod checker;
pub mod contract;
pub mod fault;
pub mod faults;
pub mod gate;
pub mod history;
pub mod logs;
pub mod model;
pub mod node;
pub mod redis;

pub use checker::{Verdict, check};
pub use fault::Fault;
pub use gate::Gate;
pub use history::{Acked, Entry, History, NodeLog, Outcome, Reading, Seen, Sent};
pub use model::Model;
pub use node::Node;
pub use redis::Redis;

//! Operations: what an operator sees and does.

pub mod admin;
pub mod disk;
pub mod http;
pub mod limits;
pub mod metrics;

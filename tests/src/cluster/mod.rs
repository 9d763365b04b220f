//! What tests of several nodes share.

pub mod contract;
pub mod redis;

pub use redis::Redis;

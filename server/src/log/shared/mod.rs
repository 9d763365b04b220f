//! The log of a cluster: one stream that every node appends to and follows. What is here is PURE; `contract` says what
//! is asked of whoever keeps the stream, one atomic operation each, and `member` decides what to ask next: `tail` is what it
//! has read, `batches` what it has on its way, `repair` what it does where nobody agreed on the log. Imports positions and
//! bytes, and nothing of what the bytes mean.

pub mod contract;
pub mod member;

mod batches;
mod follow;
mod lane;
mod repair;
mod tail;

//! The storage of Quip.
pub mod record;

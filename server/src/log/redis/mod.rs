//! The shared log in Redis: one stream, and what is agreed on beside it. The only folder that names Redis.

pub mod address;
pub mod connection;
pub mod scripts;

pub use address::{Address, BadAddress};
pub use connection::Connection;

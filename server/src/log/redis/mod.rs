//! The shared log in Redis: one stream, and what is agreed on beside it. The only folder that names Redis.

pub mod address;
pub mod beside;
pub mod connection;
pub mod scripts;

pub use address::{Address, BadAddress};
pub use beside::Listener;
pub use connection::Connection;

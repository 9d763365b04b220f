//! The shared log in Redis: one stream, and what is agreed on beside it. The only folder that names Redis.

pub mod address;
pub mod beside;
pub mod connection;
pub mod counts;
pub mod driver;
pub mod scripts;
pub mod settings;
pub mod trim;

mod hold;
mod intake;
mod lanes;
mod lost;
mod notes;
mod recall;

pub use address::{Address, BadAddress};
pub use beside::Listener;
pub use connection::Connection;
pub use driver::{Ended, Parts};
pub use intake::SharedIntake;

//! Whose turn it is: nodes that had the same entries, which the cluster went on without, append what has no id one after the
//! other. Knows the connection to Redis.

use std::sync::LazyLock;
use std::time::Duration;

use quip_protocol::NodeName;
use redis::Value;

use super::pause::pause;
use crate::log::redis::scripts::{Call, Script, text};
use crate::log::redis::{Address, Connection};
use crate::log::shared::contract::Lost;

const KEYS: &[&str] = &["{quip}:turn"];
/// A turn ends by itself so long after it was taken.
const LASTS: Duration = Duration::from_secs(30);
/// How often it is asked for, about: see [`pause`].
const AGAIN: u32 = 2;

static TURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("turn.lua")));

/// A node's turn.
#[derive(Debug)]
pub struct Turn {
    connection: Connection,
    name: NodeName,
}

impl Turn {
    /// Of this node.
    pub fn new(address: Address, name: NodeName) -> Turn {
        Turn { connection: Connection::new(address), name }
    }

    /// Waits for it, or has it for as long again.
    pub async fn take(&mut self) {
        while !matches!(self.ask(LASTS).await, Ok(true)) {
            tokio::time::sleep(pause(AGAIN)).await;
        }
    }

    /// It is another one's. One that is not told so has it a little later.
    pub async fn give_back(&mut self) {
        let _ = self.ask(Duration::ZERO).await;
    }

    async fn ask(&mut self, lasts: Duration) -> Result<bool, Lost> {
        let arguments = vec![text(&self.name), text(&lasts.as_millis())];
        Ok(self.connection.call(&Call::new(&TURN, KEYS, arguments)).await? == Value::Int(1))
    }
}

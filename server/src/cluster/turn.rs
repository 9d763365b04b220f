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

/// What the script answers whoever has it.
const NEWLY: Value = Value::Int(1);
const STILL: Value = Value::Int(2);

static TURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("turn.lua")));

/// A node's turn.
#[derive(Debug)]
pub struct Turn {
    connection: Connection,
    name: NodeName,
    /// By which it asks. What was asked by an earlier one, and arrives when nobody waits for an answer, is told from it.
    word: u64,
}

impl Turn {
    /// Of this node.
    pub fn new(address: Address, name: NodeName) -> Turn {
        Turn { connection: Connection::new(address), name, word: word() }
    }

    /// Waits for it, or has it for as long again. Says whether it is certain that nobody else has had it since it was taken
    /// last.
    pub async fn take(&mut self) -> bool {
        loop {
            match self.ask(LASTS).await {
                Ok(STILL) => return true,
                Ok(NEWLY) => return false,
                _ => self.word = word(),
            }
            tokio::time::sleep(pause(AGAIN)).await;
        }
    }

    /// It is another one's. One that is not told so has it a little later.
    pub async fn give_back(&mut self) {
        let _ = self.ask(Duration::ZERO).await;
    }

    async fn ask(&mut self, lasts: Duration) -> Result<Value, Lost> {
        let arguments = vec![text(&self.name), text(&self.word), text(&lasts.as_millis())];
        self.connection.call(&Call::new(&TURN, KEYS, arguments)).await
    }
}

/// Without randomness the name alone has to do: what arrives late is rare.
fn word() -> u64 {
    getrandom::u64().unwrap_or_default()
}

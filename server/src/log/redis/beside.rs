//! What nodes say to each other beside the log, where it may be lost: channels, and lists that live for a while. Knows bytes
//! and nothing of what they mean.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSubStream;
use redis::{Client, FromRedisValue};

use super::address::Address;
use super::connection::{CONNECT, Connection, place, within};
use super::lost::{lost, unconnected};
use crate::log::shared::contract::Lost;

/// So many members of a list are read at once.
const SCAN: u32 = 1_000;

/// Hears what is said in channels.
pub struct Listener {
    said: PubSubStream,
}

impl Listener {
    /// Listens to channels from now on.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn new(address: &Address, channels: &[&str]) -> Result<Listener, Lost> {
        let listening = async {
            let client = Client::open(place(address).await?).map_err(lost)?;
            let (mut sink, said) = client.get_async_pubsub().await.map_err(lost)?.split();
            sink.subscribe(channels).await.map_err(lost)?;
            Ok(Listener { said })
        };
        let made = within(CONNECT, "no connection", listening).await;
        made.and_then(|made| made).map_err(|why| unconnected(address, why))
    }

    /// The next message and its channel; `None` when the connection is lost.
    pub async fn next(&mut self) -> Option<(String, Vec<u8>)> {
        let said = self.said.next().await?;
        Some((said.get_channel_name().to_owned(), said.get_payload_bytes().to_vec()))
    }
}

/// A change of a list: a field, and what it holds or that it is gone.
pub type Change = (String, Option<Vec<u8>>);

impl Connection {
    /// Says something in a channel.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn say(&mut self, channel: &str, message: &[u8]) -> Result<(), Lost> {
        self.command(redis::cmd("PUBLISH").arg(channel).arg(message), Duration::ZERO).await.map(drop)
    }

    /// Changes fields of a list, which lives for so long from now on; whether it was there before.
    ///
    /// # Errors
    /// When there is no answer: some of it may be done.
    pub async fn keep(&mut self, list: &str, changes: &[Change], lives: Duration) -> Result<bool, Lost> {
        let ms = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
        let was = self.command(redis::cmd("PEXPIRE").arg(list).arg(ms), Duration::ZERO).await?;
        let (mut set, mut remove) = (redis::cmd("HSET"), redis::cmd("HDEL"));
        set.arg(list);
        remove.arg(list);
        for (field, value) in changes {
            match value {
                Some(value) => set.arg(field).arg(value),
                None => remove.arg(field),
            };
        }
        let is_set = |(_, value): &Change| value.is_some();
        if changes.iter().any(is_set) {
            self.command(&set, Duration::ZERO).await?;
        }
        if !changes.iter().all(is_set) {
            self.command(&remove, Duration::ZERO).await?;
        }
        let was = bool::from_redis_value(was).unwrap_or_default();
        if !was {
            self.command(redis::cmd("PEXPIRE").arg(list).arg(ms), Duration::ZERO).await?;
        }
        Ok(was)
    }

    /// A list is gone.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn forget(&mut self, list: &str) -> Result<(), Lost> {
        self.command(redis::cmd("DEL").arg(list), Duration::ZERO).await.map(drop)
    }

    /// All fields of a list, some at a time: one that changes meanwhile may be told as it was or as it is.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn list(&mut self, list: &str) -> Result<Vec<(String, Vec<u8>)>, Lost> {
        let (mut fields, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(list).arg(cursor).arg("COUNT").arg(SCAN);
            let told = self.command(&scan, Duration::ZERO).await?;
            let (next, some) = <(u64, Vec<(String, Vec<u8>)>)>::from_redis_value(told)
                .map_err(|_| Lost("a list of an unexpected shape".into()))?;
            fields.extend(some);
            cursor = next;
            if cursor == 0 {
                return Ok(fields);
            }
        }
    }
}

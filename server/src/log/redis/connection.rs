//! One connection to Redis: a question, its answer, and another connection after any error. Knows the scripts and
//! where Redis is.

use std::future::Future;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, RedisError, Value};
use tokio::time::timeout;

use super::address::Address;
use super::lost::{lost, unconnected};
use super::scripts::{Call, STREAM, answer, is_unknown, read_answer};
use crate::log::shared::contract::{Answer, Ask, Lost};

/// How long connecting may take, Sentinels included.
pub const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take, beside what was asked to wait.
pub const RESPOND: Duration = Duration::from_secs(1);
/// How long one Sentinel may take.
const SENTINEL: Duration = Duration::from_millis(300);

/// A connection of its own for each who asks: what waits for entries would hold the others up.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    open: Option<MultiplexedConnection>,
    /// Raised with each that was made.
    made: u64,
}

impl Connection {
    /// Not made yet: the first question does that.
    pub fn new(address: Address) -> Connection {
        Connection { address, open: None, made: 0 }
    }

    /// Where it goes.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How often it was made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Asks the log.
    ///
    /// # Errors
    /// When there is no answer in time. What was asked may have been done.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer, Lost> {
        let carried = carries(ask);
        let answered = answer(self.call_within(&Call::of(ask), carried).await?);
        let answered = match (answered, ask) {
            (Ok(Answer::Entries(none)), Ask::Read { after, wait_ms, .. })
                if none.is_empty() && *wait_ms > 0 =>
            {
                let mut read = redis::cmd("XREAD");
                read.arg("BLOCK").arg(*wait_ms).arg("COUNT").arg(1);
                read.arg("STREAMS").arg(STREAM).arg(after.to_string());
                read_answer(self.command(&read, Duration::from_millis(*wait_ms) + carried).await?)
            }
            (answered, _) => answered,
        };
        self.unless_lost(answered)
    }

    /// Runs a script, and teaches it to Redis where it does not know it.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<Value, Lost> {
        self.call_within(call, Duration::ZERO).await
    }

    async fn call_within(&mut self, call: &Call, more: Duration) -> Result<Value, Lost> {
        match self.query(&call.by_hash(), more).await? {
            Err(e) if is_unknown(&e) => self.command(&call.whole(), more).await,
            answered => self.unless_lost(answered.map_err(lost)),
        }
    }

    /// One command, which waits for so long by itself.
    pub(super) async fn command(&mut self, command: &Cmd, waits: Duration) -> Result<Value, Lost> {
        let answered = self.query(command, waits).await?.map_err(lost);
        self.unless_lost(answered)
    }

    async fn query(&mut self, command: &Cmd, waits: Duration) -> Result<Result<Value, RedisError>, Lost> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                self.made += 1;
                connect(&self.address).await?
            }
        };
        let asked = within(RESPOND + waits, "no answer", open.send_packed_command(command)).await;
        let asked = asked?.and_then(Value::extract_error);
        self.open = Some(open);
        Ok(asked)
    }

    /// After an error the next question has another connection, which is perhaps to another Redis.
    fn unless_lost<T>(&mut self, answered: Result<T, Lost>) -> Result<T, Lost> {
        if answered.is_err() {
            self.open = None;
        }
        answered
    }
}

/// How long the bytes of a question and its answer may take on their way, at a mebibyte a second: on a slow line the same would
/// be asked again for ever.
fn carries(ask: &Ask) -> Duration {
    let bytes = match ask {
        Ask::Read { max_bytes, .. } => *max_bytes,
        Ask::Append { payload, .. } => payload.len(),
        Ask::Restore { entries, .. } => entries.iter().map(|entry| entry.payload.len()).sum(),
        _ => 0,
    };
    Duration::from_millis(bytes as u64 / 1024)
}

pub(super) async fn within<T>(
    time: Duration,
    what: &str,
    asking: impl Future<Output = T>,
) -> Result<T, Lost> {
    timeout(time, asking).await.map_err(|_| Lost(format!("{what} within {} ms", time.as_millis())))
}

async fn connect(address: &Address) -> Result<MultiplexedConnection, Lost> {
    let connecting = within(CONNECT, "no connection", async { open(place(address).await?).await });
    connecting.await.and_then(|made| made).map_err(|why| unconnected(address, why))
}

/// Where Redis is now.
pub(super) async fn place(address: &Address) -> Result<ConnectionInfo, Lost> {
    match address.sentinels.is_empty() {
        true => Ok(address.info.clone()),
        false => master(address).await,
    }
}

/// The time-outs are ours: those of the crate would cut a read that waits.
async fn open(info: ConnectionInfo) -> Result<MultiplexedConnection, Lost> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let client = Client::open(info).map_err(lost)?;
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(lost)
}

/// Where the master is, by the first Sentinel that knows.
async fn master(address: &Address) -> Result<ConnectionInfo, Lost> {
    let mut why = Vec::new();
    for (host, port) in &address.sentinels {
        let asking = named_by(address.sentinel(host.clone(), *port), &address.master);
        match within(SENTINEL, "no answer", asking).await.and_then(|named| named) {
            // Another Sentinel may say something else, and will not for long.
            Ok((host, port)) => return address.named(host, port),
            Err(Lost(e)) => why.push(format!("{host}:{port}: {e}")),
        }
    }
    Err(Lost(format!("no Sentinel names the master {}: {}", address.master, why.join("; "))))
}

async fn named_by(sentinel: ConnectionInfo, master: &str) -> Result<(String, u16), Lost> {
    let mut open = open(sentinel).await?;
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("get-master-addr-by-name").arg(master);
    let named: Option<(String, u16)> = ask.query_async(&mut open).await.map_err(lost)?;
    named.ok_or_else(|| Lost("it does not know it".into()))
}

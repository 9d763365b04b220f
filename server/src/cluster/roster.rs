//! Who lives: every node says so in Redis once a second, and hears who else does. A name belongs to one node. Knows the
//! connection to Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::LazyLock;

use bytes::Bytes;
use quip_protocol::{Epoch, Fingerprint, NodeName, Position, Timestamp};
use redis::Value;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, error, info};

use super::{BootId, Cluster, DEAD_AFTER, HEARTBEAT, Heartbeat, Roster};
use crate::log::redis::scripts::{Call, Script, bytes, hex, list, string, text};
use crate::log::redis::{Address, Connection};
use crate::log::shared::contract::Lost;

const KEYS: &[&str] = &["{quip}:nodes"];

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("beat.lua")));
static GONE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("gone.lua")));

/// What of a node stays the same as long as it runs.
#[derive(Debug, Clone)]
pub struct Own {
    /// The data directory, which is another start of the same node if it is the same.
    pub directory: [u8; 16],
    /// When the process started.
    pub started: Timestamp,
    /// Where clients and nodes find it, as `host:port`.
    pub address: String,
    /// By which key they know it.
    pub fingerprint: Fingerprint,
    /// Tells the cluster's key from others, and not what it is ([`super::key::ClusterKey::mark`]).
    pub key_mark: String,
}

/// What of a node changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// How many connections it has.
    pub connections: u32,
    /// Its journal has everything up to there.
    pub position: Position,
    /// It is stopping.
    pub draining: bool,
}

/// Another process is called like this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "another node of this cluster, at {address}, is called {name}: stop that one, or start this one with another --node"
)]
pub struct NameTaken {
    /// What both are called.
    pub name: NodeName,
    /// Where the other is.
    pub address: String,
}

/// Why a node does not come to live among the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// Another process has its name.
    #[error(transparent)]
    Name(#[from] NameTaken),
    /// It could not get from the others what it lacks, nor they from it.
    #[error(
        "this node's cluster key is not that of node {name} at {address}: copy the file cluster.key of one to the other (--cluster-key)"
    )]
    Key {
        /// One that has another key.
        name: NodeName,
        /// Where it is.
        address: String,
    },
    /// Who is sent to one of them would come to the other.
    #[error(
        "node {name} of this cluster is at {address} too: give this one an address of its own (--advertise); if {name} is no more, start this one again in some seconds"
    )]
    Address {
        /// Who lives there.
        name: NodeName,
        /// Where both are, as they say.
        address: String,
    },
}

/// A node that says that it lives.
#[derive(Debug)]
pub struct Beating {
    /// Sent when another process has the name: this one must stop.
    pub taken: oneshot::Receiver<NameTaken>,
    stop: watch::Sender<bool>,
    again: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Beating {
    /// What the node says of itself has changed: the others are to hear of it now, and not with the next beat.
    pub fn at_once(&self) {
        self.again.notify_one();
    }

    /// The node is gone at once for the others, as far as Redis can be told.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A task that panicked has said so.
        let _ = self.task.await;
    }
}

/// Says once, and from then on every second, that the node lives, and keeps `cluster.roster`. A Redis that does not answer is
/// tried again; the roster stays as it was seen last.
///
/// # Errors
/// See [`Unwelcome`].
pub async fn start(
    address: Address,
    cluster: Arc<Cluster>,
    own: Own,
    now: impl Fn() -> Now + Send + 'static,
) -> Result<Beating, Unwelcome> {
    let mut beat = Beat {
        connection: Connection::new(address),
        cluster,
        own,
        silence: Silence::None,
        keys: BTreeMap::new(),
        again: Arc::default(),
    };
    beat.first(&now).await?;
    if let Some(unwelcome) = beat.other_key().or_else(|| beat.other_here()) {
        beat.gone().await;
        return Err(unwelcome);
    }
    let again = Arc::clone(&beat.again);
    let (stop, stopped) = watch::channel(false);
    let (tell, taken) = oneshot::channel();
    let task = tokio::spawn(async move {
        if let Err(name_taken) = beat.until(stopped, now).await {
            error!("{name_taken}");
            // Who does not listen does not stop.
            let _ = tell.send(name_taken);
        }
    });
    Ok(Beating { taken, stop, again, task })
}

struct Beat {
    connection: Connection,
    cluster: Arc<Cluster>,
    own: Own,
    silence: Silence,
    /// The marks of the others' keys.
    keys: BTreeMap<NodeName, String>,
    again: Arc<Notify>,
}

/// Redis did not answer: who had no chance to say that it lives is not dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Not lately.
    None,
    /// It does not.
    Lasts,
    /// It answers again; those whom one knew have until then.
    EndedUntil(Instant),
}

impl Silence {
    /// There was an answer. Whether those who are not in it may live all the same.
    fn broken(&mut self, now: Instant) -> bool {
        match *self {
            Silence::None => return false,
            Silence::Lasts => *self = Silence::EndedUntil(now + DEAD_AFTER),
            Silence::EndedUntil(until) if now >= until => *self = Silence::None,
            Silence::EndedUntil(_) => {}
        }
        *self != Silence::None
    }
}

impl Beat {
    /// Nobody else can be at this node's own address: who has its name there is dead, and forgotten soon.
    async fn first(&mut self, now: &impl Fn() -> Now) -> Result<(), NameTaken> {
        let patience = Instant::now() + DEAD_AFTER + HEARTBEAT;
        let mut waits = false;
        loop {
            match self.once(now()).await {
                Err(taken) if taken.address == self.own.address && Instant::now() < patience => {
                    if !std::mem::replace(&mut waits, true) {
                        info!(name = %taken.name, "a node of this name died at this address a moment ago: waiting until it is forgotten");
                    }
                    sleep(HEARTBEAT).await;
                }
                said => return said,
            }
        }
    }

    /// Whether those who live have another key than this node, all that say which.
    fn other_key(&self) -> Option<Unwelcome> {
        let own = &self.own.key_mark;
        if self.keys.values().any(|mark| mark == own) {
            return None;
        }
        let name = self.keys.keys().next()?.clone();
        let address = self.cluster.roster.borrow().get(&name)?.address.clone();
        Some(Unwelcome::Key { name, address })
    }

    /// Whether another node that lives says that it is where this one is.
    fn other_here(&self) -> Option<Unwelcome> {
        let (own, address) = (&self.cluster.name, &self.own.address);
        let roster = self.cluster.roster.borrow();
        let mut here = roster.iter().filter(|(name, said)| *name != own && said.address == *address);
        here.next().map(|(name, _)| Unwelcome::Address { name: name.clone(), address: address.clone() })
    }

    async fn until(
        &mut self,
        mut stopped: watch::Receiver<bool>,
        now: impl Fn() -> Now,
    ) -> Result<(), NameTaken> {
        let mut ticks = interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_over = tokio::select! {
                // An error means that the server is gone, which is a stop too.
                _ = stopped.wait_for(|stop| *stop) => true,
                _ = ticks.tick() => false,
                () = self.again.notified() => false,
            };
            if is_over {
                self.gone().await;
                return Ok(());
            }
            self.once(now()).await?;
        }
    }

    async fn once(&mut self, now: Now) -> Result<(), NameTaken> {
        let heartbeat = self.heartbeat(now);
        match self.ask(&heartbeat).await {
            Ok(Heard::Nodes(mut roster, keys)) => {
                self.keys = keys;
                roster.insert(self.cluster.name.clone(), heartbeat);
                if self.silence.broken(Instant::now()) {
                    for (name, known) in &*self.cluster.roster.borrow() {
                        roster.entry(name.clone()).or_insert_with(|| known.clone());
                    }
                }
                self.cluster.roster.send_if_modified(|known| {
                    let is_news = *known != roster;
                    *known = roster;
                    is_news
                });
                Ok(())
            }
            Ok(Heard::Taken(address)) => Err(NameTaken { name: self.cluster.name.clone(), address }),
            // How the shared log stands is told elsewhere, once.
            Err(Lost(e)) => {
                debug!(error = e, "no heartbeat");
                self.silence = Silence::Lasts;
                Ok(())
            }
        }
    }

    fn heartbeat(&self, now: Now) -> Heartbeat {
        Heartbeat {
            boot: self.cluster.boot,
            address: self.own.address.clone(),
            fingerprint: self.own.fingerprint,
            connections: now.connections,
            position: now.position,
            draining: now.draining,
        }
    }

    async fn ask(&mut self, heartbeat: &Heartbeat) -> Result<Heard, Lost> {
        let arguments = vec![
            text(&self.cluster.name),
            hex(&self.cluster.boot.0),
            hex(&self.own.directory),
            text(&self.own.started.0),
            text(&DEAD_AFTER.as_millis()),
            said(heartbeat, &self.own.key_mark),
        ];
        let heard = self.connection.call(&Call::new(&BEAT, KEYS, arguments)).await?;
        heard_in(heard).ok_or_else(|| Lost("a roster of an unexpected shape".into()))
    }

    async fn gone(&mut self) {
        let arguments = vec![text(&self.cluster.name), hex(&self.cluster.boot.0)];
        if let Err(Lost(e)) = self.connection.call(&Call::new(&GONE, KEYS, arguments)).await {
            debug!(error = e, "cannot say that this node is gone; it is, some seconds later");
        }
    }
}

/// What a node says of itself, for other versions too: what they do not know they leave out.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    boot: String,
    address: String,
    fingerprint: String,
    connections: u32,
    epoch: u32,
    offset: u64,
    draining: bool,
    /// Versions that say none are not compared.
    #[serde(default)]
    key: String,
}

fn said(heartbeat: &Heartbeat, key_mark: &str) -> Bytes {
    let said = Said {
        boot: format!("{:032x}", u128::from_be_bytes(heartbeat.boot.0)),
        address: heartbeat.address.clone(),
        fingerprint: heartbeat.fingerprint.to_string(),
        connections: heartbeat.connections,
        epoch: heartbeat.position.epoch.0,
        offset: heartbeat.position.offset,
        draining: heartbeat.draining,
        key: key_mark.to_owned(),
    };
    serde_json::to_vec(&said).expect("texts and numbers can be written").into()
}

fn heartbeat_in(said: &[u8]) -> Option<(Heartbeat, String)> {
    let said: Said = serde_json::from_slice(said).ok()?;
    let heartbeat = Heartbeat {
        boot: BootId(u128::from_str_radix(&said.boot, 16).ok()?.to_be_bytes()),
        address: said.address,
        fingerprint: said.fingerprint.parse().ok()?,
        connections: said.connections,
        position: Position { epoch: Epoch(said.epoch), offset: said.offset },
        draining: said.draining,
    };
    Some((heartbeat, said.key))
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// The others, and the marks of their keys.
    Nodes(Roster, BTreeMap<NodeName, String>),
    /// Where the one is that has the name.
    Taken(String),
}

/// A node that says what cannot be read is left out: it is of a version that is none of ours.
fn heard_in(answer: Value) -> Option<Heard> {
    let mut parts = list(answer)?.into_iter();
    match &bytes(parts.next()?)?[..] {
        b"taken" => {
            let other = heartbeat_in(&bytes(parts.next()?)?);
            Some(Heard::Taken(other.map_or_else(|| "an unknown address".into(), |(other, _)| other.address)))
        }
        b"nodes" => {
            let (mut roster, mut keys) = (Roster::new(), BTreeMap::new());
            while let Some(name) = parts.next() {
                let (name, said) = (string(name)?, bytes(parts.next()?)?);
                if let (Ok(name), Some((heartbeat, key))) = (name.parse::<NodeName>(), heartbeat_in(&said)) {
                    if !key.is_empty() {
                        keys.insert(name.clone(), key);
                    }
                    roster.insert(name, heartbeat);
                }
            }
            Some(Heard::Nodes(roster, keys))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat() -> Heartbeat {
        Heartbeat {
            boot: BootId([1; 16]),
            address: "a.example:4433".into(),
            fingerprint: Fingerprint([2; 32]),
            connections: 3,
            position: Position { epoch: Epoch(4), offset: 5 },
            draining: true,
        }
    }

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn who_was_known_before_a_silence_has_time_to_say_that_it_lives() {
        let begun = Instant::now();
        let mut silence = Silence::None;
        assert!(!silence.broken(begun), "there was none");
        silence = Silence::Lasts;
        assert!(silence.broken(begun));
        assert!(silence.broken(begun + DEAD_AFTER / 2));
        assert!(!silence.broken(begun + DEAD_AFTER));
        assert!(!silence.broken(begun), "it is over");
    }

    #[test]
    fn what_a_node_says_is_heard() {
        let said = said(&heartbeat(), "5e");
        let nodes = Value::Array(vec![bulk(b"nodes"), bulk(b"b"), bulk(&said), bulk(b"c"), bulk(b"{}")]);
        let roster = Roster::from([("b".parse().unwrap(), heartbeat())]);
        let keys = BTreeMap::from([("b".parse().unwrap(), "5e".to_owned())]);
        assert_eq!(heard_in(nodes), Some(Heard::Nodes(roster, keys)));
        let taken = Value::Array(vec![bulk(b"taken"), bulk(&said)]);
        assert_eq!(heard_in(taken), Some(Heard::Taken("a.example:4433".into())));
        for broken in [Value::Nil, Value::Array(vec![]), Value::Array(vec![bulk(b"nodes"), bulk(b"b")])] {
            assert_eq!(heard_in(broken), None);
        }
    }

    #[test]
    fn what_another_version_says_is_read_as_far_as_it_is_known() {
        let mut value: serde_json::Value = serde_json::from_slice(&said(&heartbeat(), "5e")).unwrap();
        value["more"] = 1.into();
        let heard = |value: &serde_json::Value| heartbeat_in(value.to_string().as_bytes());
        assert_eq!(heard(&value), Some((heartbeat(), "5e".to_owned())));
        value.as_object_mut().unwrap().remove("key");
        assert_eq!(heard(&value), Some((heartbeat(), String::new())), "one that says no key yet");
        value["fingerprint"] = "x".into();
        assert_eq!(heard(&value), None);
    }
}

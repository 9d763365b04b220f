//! The side that asks: one connection, one question.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint, RecvStream};
use quip_protocol::{NodeName, Position};
use quip_storage::EpochSpan;

use crate::cluster::Heartbeat;
use crate::cluster::key::ClusterKey;
use crate::log::shared::contract::ClusterId;

use super::proof::{PROOF_BYTES, Role, check, prove};
use super::tls::client_config;
use super::wire::{Ask, Broken, Hello, Told, read, read_exact, read_payloads, write, write_bytes};

/// A node that lives answers within this.
const REACHED_WITHIN: Duration = Duration::from_secs(5);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Which node.
    pub name: NodeName,
    /// What shows it.
    pub key: ClusterKey,
}

/// A connection on which a question was asked.
pub(super) struct Asked {
    connection: Connection,
    recv: RecvStream,
    /// Held: with it the connection would end.
    _endpoint: Endpoint,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.connection.close(0_u32.into(), b"");
    }
}

impl Asker {
    /// Asks the node `to`, which is where its heartbeat says.
    pub(super) async fn ask(&self, to: &NodeName, at: &Heartbeat, ask: Ask) -> Result<Asked, Broken> {
        let (endpoint, connection) = reach(at).await?;
        match self.say(&connection, to, ask).await {
            Ok(recv) => Ok(Asked { connection, recv, _endpoint: endpoint }),
            Err(broken) => {
                let broken = broken.or_said(&connection).await;
                broken.close(&connection);
                // So that the other end is told.
                let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
                Err(broken)
            }
        }
    }

    async fn say(&self, connection: &Connection, to: &NodeName, ask: Ask) -> Result<RecvStream, Broken> {
        let (mut send, mut recv) = connection.open_bi().await?;
        write_bytes(&mut send, prove(&self.key, connection, Role::Asks)?.to_vec().into()).await?;
        let mut proof = [0; PROOF_BYTES];
        read_exact(&mut recv, &mut proof).await?;
        check(&self.key, connection, Role::Answers, &proof)?;
        let hello = Hello { cluster: self.cluster.0, from: self.name.clone(), to: to.clone(), ask };
        write(&mut send, &hello).await?;
        Ok(recv)
    }

    /// The outline of a node's journal.
    pub(super) async fn epochs(&self, of: &NodeName, at: &Heartbeat) -> Result<Vec<EpochSpan>, Broken> {
        let mut asked = self.ask(of, at, Ask::Epochs).await?;
        let spans = match asked.told().await? {
            Told::Epochs(spans) => spans,
            _ => return Err(Broken::Protocol("its epochs were asked for")),
        };
        let spans: Vec<EpochSpan> =
            spans.into_iter().map(|(epoch, first, last)| EpochSpan { epoch, first, last }).collect();
        let rises = |pair: &[EpochSpan]| pair[0].epoch < pair[1].epoch && pair[0].last < pair[1].first;
        if !spans.windows(2).all(rises) || spans.iter().any(|span| span.first > span.last) {
            return Err(Broken::Protocol("its epochs are out of order"));
        }
        Ok(spans)
    }
}

impl Asked {
    /// The next frame; a refusal is an error.
    pub async fn told(&mut self) -> Result<Told, Broken> {
        match read(&mut self.recv).await {
            Ok(Told::Refused(refused)) => Err(refused.into()),
            Ok(told) => Ok(told),
            Err(broken) => Err(broken.or_said(&self.connection).await),
        }
    }

    /// What follows on [`Told::Block`].
    pub async fn payloads(&mut self, places: Vec<(Position, u32)>) -> Result<Vec<(Position, Bytes)>, Broken> {
        match read_payloads(&mut self.recv, places).await {
            Err(broken) => Err(broken.or_said(&self.connection).await),
            payloads => payloads,
        }
    }
}

/// A connection to where a node says that it is.
async fn reach(at: &Heartbeat) -> Result<(Endpoint, Connection), Broken> {
    let unreachable = |why: &dyn std::fmt::Display| Broken::Unreachable(format!("{}: {why}", at.address));
    let mut last = unreachable(&"no such host; check its --advertise");
    let addresses = tokio::net::lookup_host(&at.address).await.map_err(|e| unreachable(&e))?;
    for address in addresses {
        let config = client_config(at.fingerprint).ok_or_else(|| unreachable(&"no TLS"))?;
        let endpoint = Endpoint::client(any(address)).map_err(|e| unreachable(&e))?;
        let connecting = endpoint.connect_with(config, address, "quip").map_err(|e| unreachable(&e))?;
        match tokio::time::timeout(REACHED_WITHIN, connecting).await {
            Ok(Ok(connection)) => return Ok((endpoint, connection)),
            Ok(Err(e)) => last = unreachable(&e),
            Err(_) => last = unreachable(&"it does not answer"),
        }
    }
    Err(last)
}

/// A port of one's own, of the same kind of address.
fn any(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 8], 0).into(),
    }
}

//! What a node has of a room, read from its begin.

use anyhow::{Context as _, Result};
use quip_protocol::client::{Client, Config};
use quip_protocol::frame::PageFrom;
use quip_protocol::limits::MAX_PAGE;
use quip_protocol::{Event, Identity, NodeName, Seq, ServerLink, Target};

use crate::person;

/// A client that stays at this node, whichever else there are.
///
/// # Errors
/// When it does not serve.
pub async fn at_node(link: &ServerLink, who: Identity) -> Result<Client> {
    Ok(Client::connect(Config { reconnect: false, ..person::config(link, who) }).await?)
}

/// What the node that a client is connected to is called.
///
/// # Errors
/// When it is none of a cluster.
pub fn node_of(client: &Client) -> Result<NodeName> {
    let first = client.welcome().and_then(|welcome| welcome.nodes.into_iter().next());
    Ok(first.context("the server does not say that it is a node")?.node.name)
}

/// The whole log of a room.
///
/// # Errors
/// When the node does not tell it now.
pub async fn read_room(client: &Client, room: &Target) -> Result<Vec<Event>> {
    let mut log: Vec<Event> = Vec::new();
    loop {
        let at = log.last().map_or(Seq::ZERO, |event| event.seq);
        let mut page = client.stream_page(room, PageFrom::After(at), MAX_PAGE).await?;
        while let Some(event) = page.next().await? {
            log.push(event);
        }
        let last = log.last().map_or(Seq::ZERO, |event| event.seq);
        if last == at || page.head().is_none_or(|head| head.seq <= last) {
            return Ok(log);
        }
    }
}

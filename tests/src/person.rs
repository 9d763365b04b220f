//! People on a server: clients of the protocol crate with accounts.

use quip_protocol::client::{Client, Config, Error, Post, Trust};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{Identity, Receipt, SafeLine, ServerLink, Target};
use tokio::task::{JoinError, JoinSet};

use crate::poll::within;

/// A key that is the same for the same name, in every run.
pub fn identity(name: &str) -> Identity {
    let mut seed = [0x51; 32];
    for (slot, byte) in seed.iter_mut().zip(name.bytes()) {
        *slot = byte;
    }
    Identity::from_seed(seed)
}

/// A configuration for this server.
///
/// # Panics
/// When the link has no fingerprint.
pub fn config(link: &ServerLink, identity: Identity) -> Config {
    let fingerprint = link.fingerprint.expect("the server's links carry its fingerprint");
    Config::new(link.host.clone(), link.port, Trust::Pinned(fingerprint), identity)
}

/// Makes an account with the code of `link` and returns its client, connected.
///
/// # Panics
/// When it is refused.
pub async fn join(link: &ServerLink, name: &str) -> Client {
    let connecting = Client::connect(config(link, identity(name)));
    let client = within("a connection", connecting).await.expect("the server is there");
    let code = link.code.clone().expect("a link with a code");
    let name = Some(name.parse().expect("a valid name"));
    let redeem = Request::Redeem { code, name, device: SafeLine::new("test") };
    let reply = within("redeeming", client.request(redeem)).await.expect("the code is good");
    assert!(matches!(reply, Reply::Account(_)), "{reply:?}");
    client
}

/// Sends all of these, up to 500 at a time: their order is the server's.
///
/// # Panics
/// When one is refused, or it takes too long.
pub async fn post_all(client: &Client, to: &Target, texts: impl IntoIterator<Item = String>) {
    let mut posts = JoinSet::new();
    for text in texts {
        while posts.len() >= 500 {
            sent(posts.join_next().await);
        }
        let (handle, post) = (client.handle(), Post::new(to.clone(), &text));
        posts.spawn(async move { handle.post(post).await });
    }
    let rest = async {
        while let Some(post) = posts.join_next().await {
            sent(Some(post));
        }
    };
    within("all are sent", rest).await;
}

fn sent(post: Option<Result<Result<Receipt, Error>, JoinError>>) {
    post.expect("some are on their way").expect("a post does not panic").expect("the server takes it");
}

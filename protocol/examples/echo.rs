//! A bot that says again what is said to it: `QUIP_SERVER=… QUIP_TOKEN=… cargo run --example echo '#ops' '@ann'`.
//! In a room it answers lines that begin with "echo "; in a direct room, everything.

use std::collections::HashMap;

use quip_protocol::Target;
use quip_protocol::client::{Client, Error, Event};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut client = Client::from_env().await?;
    let me = client.welcome().and_then(|welcome| welcome.account);
    let mut rooms = HashMap::new();
    for name in std::env::args().skip(1) {
        let room = client.join(&name).await?;
        rooms.insert(room.id, room);
    }
    while let Some(event) = client.next().await {
        let Event::Message(message) = event? else { continue };
        let Some(room) = rooms.get(&message.room()) else { continue };
        if Some(message.author()) == me.as_ref() {
            continue;
        }
        let text = match (message.text().strip_prefix("echo "), &room.target) {
            (Some(text), _) => text,
            (None, Target::Direct(_)) => message.text(),
            (None, Target::Room(_)) => continue,
        };
        client.send(room, text).await?;
    }
    Ok(())
}

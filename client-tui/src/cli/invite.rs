//! `quip invite`, and how a link is handed out.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use clap::Args;
use quip_protocol::client::Handle;
use quip_protocol::frame::Request;
use quip_protocol::{InviteCode, RoomName, ServerLink, Timestamp};

use super::connect::{Stay, connect};
use super::duration::Seconds;
use super::env::Env;
use super::exit::CliError;
use super::json::Line;
use super::out::{Out, say};
use super::replies;

const EXAMPLES: &str = "Examples:
  quip invite
  quip invite --room '#ops' --uses 5 --ttl 7d";

/// Prints a link that makes a colleague an account.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InviteArgs {
    /// Also makes them a member of this room
    #[arg(long, value_name = "ROOM")]
    room: Option<RoomName>,
    /// For so many colleagues
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// For how long it is good: 90s, 10m, 24h, 7d
    #[arg(long, default_value = "24h")]
    ttl: Seconds,
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: InviteArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    let InviteArgs { room, uses, ttl } = args;
    let (code, expires) = new_code(&connection.handle, room, uses, ttl).await?;
    hand_out(&connection.server, code, expires, out)?;
    connection.close().await;
    Ok(())
}

/// A new invite.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn new_code(
    handle: &Handle,
    room: Option<RoomName>,
    uses: u32,
    ttl: Seconds,
) -> Result<(InviteCode, Timestamp), CliError> {
    replies::code(handle, Request::NewInvite { room, uses, ttl_s: ttl.0 }).await
}

/// Prints the link with `code` to `server`. Where only this machine would get there with it, says what another
/// one needs.
///
/// # Errors
/// When the output takes no more.
pub fn hand_out(
    server: &ServerLink,
    code: InviteCode,
    expires: Timestamp,
    out: &mut Out,
) -> Result<(), CliError> {
    let link = ServerLink { code: Some(code), ..server.clone() };
    let text = link.reveal();
    out.show(&Line::Link { link: &text, expires }, || text.clone())?;
    if is_loopback(&link.host) {
        say(&only_here(&link, lan_address()));
    }
    Ok(())
}

/// What is said of a link to a loopback address.
fn only_here(link: &ServerLink, lan: Option<IpAddr>) -> String {
    let here = format!("this link works only on this machine: {} is an address of its own", link.host);
    match lan {
        Some(ip) => format!("{here}; elsewhere, if the server listens there too: {}", at(link, ip).reveal()),
        None => format!("{here}; let the server listen on another one for others to join"),
    }
}

/// The same server by another address.
pub fn at(link: &ServerLink, ip: IpAddr) -> ServerLink {
    ServerLink { host: ip.to_string(), ..link.clone() }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The address that others in the network have for this machine. Connecting a UDP socket sends nothing: it only
/// asks the routing table. The address asked about is one for documentation (RFC 5737).
pub fn lan_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_addresses_are_only_this_machine() {
        let table = [("127.0.0.1", true), ("127.8.0.1", true), ("::1", true), ("localhost", true)];
        for (host, loopback) in table.into_iter().chain([("10.0.0.1", false), ("chat.example", false)]) {
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
    }

    #[test]
    fn a_link_that_works_only_here_says_so() {
        let link: ServerLink = "quip://127.0.0.1:5#AAECAwQFBgcICQoLDA0ODw".parse().unwrap();
        let table = [(None, "listen on another one"), (Some("10.0.0.7"), "quip://10.0.0.7:5#AAEC")];
        for (lan, advice) in table {
            let said = only_here(&link, lan.map(|ip| ip.parse().unwrap()));
            assert!(
                said.starts_with("this link works only on this machine") && said.contains(advice),
                "{said}"
            );
        }
    }

    #[test]
    fn another_address_keeps_the_rest_of_the_link() {
        let link: ServerLink = "quip://127.0.0.1:5#AAECAwQFBgcICQoLDA0ODw".parse().unwrap();
        assert_eq!(at(&link, "::2".parse().unwrap()).reveal(), "quip://[::2]:5#AAECAwQFBgcICQoLDA0ODw");
    }
}

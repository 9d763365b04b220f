//! Whether this machine slept or moved to another network: then the connection is rebound at once, instead of
//! waiting until a keep-alive is due. The decision is PURE: clocks and addresses are arguments.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use super::silence::TICK;

/// The clocks go on together, but for the machine's sleep (the monotonic one stands still on Linux and macOS) or when
/// this process was stopped (no tick came for as long). A wall clock that was set looks the same and costs a ping.
const SLEPT: Duration = Duration::from_secs(5);

/// What was seen at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    wall: Duration,
    monotonic: Instant,
    /// The address from which packets to the server leave; none without a route.
    local: Option<IpAddr>,
}

impl Look {
    /// As it is now, for packets to this address.
    pub(super) fn now(server: SocketAddr) -> Look {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Look { wall, monotonic: Instant::now(), local: local_address(server) }
    }
}

/// The system's choice of the address to send from. Connecting a UDP socket sends nothing.
fn local_address(server: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// What happened since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Roamed {
    /// Nothing.
    Stayed,
    /// The network is gone; there is nowhere to send from.
    Away,
    /// Another network, or the same one again.
    Moved,
    /// The machine slept, or the process was stopped: the server may have given up, and so may a NAT.
    Woke,
}

/// Resolves when there is reason to try again at once: this machine woke up, or has another network.
pub(super) async fn roamed(server: SocketAddr) {
    let mut roaming = Roaming::new(Look::now(server));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if matches!(roaming.look(Look::now(server)), Roamed::Moved | Roamed::Woke) {
            return;
        }
    }
}

/// Compares one look with the one before.
#[derive(Debug)]
pub(super) struct Roaming {
    last: Look,
}

impl Roaming {
    pub(super) fn new(look: Look) -> Roaming {
        Roaming { last: look }
    }

    /// One [`TICK`] after the last look, or later.
    pub(super) fn look(&mut self, look: Look) -> Roamed {
        let last = std::mem::replace(&mut self.last, look);
        let awake = look.monotonic.saturating_duration_since(last.monotonic);
        let passed = look.wall.saturating_sub(last.wall).max(awake);
        match (last.local, look.local) {
            (_, None) => Roamed::Away,
            (before, now) if before != now => Roamed::Moved,
            _ if passed >= TICK + SLEPT => Roamed::Woke,
            _ => Roamed::Stayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_networks() {
        use Roamed::{Away, Moved, Stayed, Woke};
        let began = Instant::now();
        let (home, train) = (Some([192, 168, 0, 2].into()), Some([10, 0, 0, 7].into()));
        let look = |wall: i64, awake: u64, local| Look {
            wall: Duration::from_secs(u64::try_from(1_000_000 + wall).unwrap()),
            monotonic: began + Duration::from_secs(awake),
            local,
        };
        let mut roaming = Roaming::new(look(0, 0, home));
        let table = [
            ("a second", look(1, 1, home), Stayed),
            ("a busy machine", look(5, 5, home), Stayed),
            ("an hour asleep", look(3_606, 6, home), Woke),
            ("and on", look(3_607, 7, home), Stayed),
            ("stopped by a signal, the wall clock set back meanwhile", look(607, 20, home), Woke),
            ("the wall clock set back", look(-500_000, 21, home), Stayed),
            ("another network", look(-499_999, 22, train), Moved),
            ("none", look(-499_998, 23, None), Away),
            ("still none", look(-499_990, 31, None), Away),
            ("the same one again", look(-499_989, 32, train), Moved),
            ("asleep, and home", look(0, 33, home), Moved),
        ];
        for (what, look, expected) in table {
            assert_eq!(roaming.look(look), expected, "{what}");
        }
    }

    #[test]
    fn the_system_is_asked() {
        let server = ([127, 0, 0, 1], 9).into();
        let mut roaming = Roaming::new(Look::now(server));
        assert_eq!(Look::now(server).local, Some([127, 0, 0, 1].into()));
        assert_eq!(roaming.look(Look::now(server)), Roamed::Stayed);
    }
}

//! What requests cost, and whose budgets pay: the device's, its account's, the room's, the address'. Whoever has spent
//! theirs is told when to come again.

use std::net::IpAddr;

use parking_lot::Mutex;
use quip_protocol::frame::Request;
use quip_protocol::limits::{MAX_NAMES, MAX_WATCHES};
use quip_protocol::{AccountId, DeviceKey, ErrorCode, Refusal, RoomId, Target, Timestamp};

use crate::config::LimitsConfig;
use crate::engine::Engine;

use super::Session;
use super::budget::{Budgets, Rate, source};

/// So many accounts named in a request cost as much as a message.
const NAMES_A_MESSAGE: usize = 10;
/// What is rare comes back one in ten seconds.
const RARE_US: u32 = 10_000_000;

/// What was spent lately.
#[derive(Debug, Default)]
pub struct Spent {
    devices: Mutex<Budgets<DeviceKey>>,
    accounts: Mutex<Budgets<AccountId>>,
    rooms: Mutex<Budgets<RoomId>>,
    makings: Mutex<Budgets<AccountId>>,
    codes: Mutex<Budgets<IpAddr>>,
    handshakes: Mutex<Budgets<IpAddr>>,
    whispers: Mutex<Budgets<AccountId>>,
}

impl Spent {
    /// Whether an address may begin a handshake. Loopback always may.
    pub fn may_shake_hands(&self, address: IpAddr, limits: &LimitsConfig, now: Timestamp) -> bool {
        let source = source(address);
        source.is_loopback() || self.handshakes.lock().has(&source, handshakes(limits), now)
    }

    /// Whether a datagram of this account is looked at. Taken for any, also for one that is none.
    pub fn may_whisper(&self, payer: AccountId, rate: Rate, now: Timestamp) -> bool {
        self.whispers.lock().take(payer, 1, rate, now).is_ok()
    }

    /// A handshake was done. Not counted before: until then anybody could have written the address.
    pub fn shook_hands(&self, address: IpAddr, limits: &LimitsConfig, now: Timestamp) {
        let source = source(address);
        if !source.is_loopback() {
            // One of several at once that were begun while there was budget.
            let _ = self.handshakes.lock().take(source, 1, handshakes(limits), now);
        }
    }
}

fn handshakes(limits: &LimitsConfig) -> Rate {
    Rate::per_second(limits.burst_handshakes, limits.handshakes_per_second)
}

/// As much as so many devices may send.
fn messages(limits: &LimitsConfig, times: u32) -> Rate {
    Rate::per_second(
        limits.burst_messages.saturating_mul(times),
        limits.messages_per_second.saturating_mul(times),
    )
}

/// What a request costs, in messages.
fn cost(request: &Request) -> u32 {
    let (names, most) = match request {
        Request::CreateRoom { members, .. } => (members.len(), MAX_NAMES),
        Request::Invite { who, .. } => (who.len(), MAX_NAMES),
        Request::Watch { rooms } | Request::Digest { rooms } => (rooms.len(), MAX_WATCHES),
        _ => return 1,
    };
    // More than the most is refused, which is little work.
    let names = if names > most { 0 } else { names };
    u32::try_from(1 + names / NAMES_A_MESSAGE).unwrap_or(u32::MAX)
}

/// Whether it makes something that stays in memory.
fn makes(request: &Request) -> bool {
    matches!(
        request,
        Request::CreateRoom { .. }
            | Request::NewInvite { .. }
            | Request::NewDeviceCode
            | Request::NewToken { .. }
    )
}

/// The room that gets an event by this request. Who is not in it takes nothing from those who are.
fn written_room(engine: &Engine, account: AccountId, request: &Request) -> Option<RoomId> {
    let room = match request {
        Request::Post { target: target @ Target::Room(_), .. } => engine.resolve(account, target).ok()?,
        Request::Edit { room, .. } | Request::Delete { room, .. } | Request::React { room, .. } => *room,
        _ => return None,
    };
    engine.room(room)?.role(account).map(|_| room)
}

impl Session {
    /// Takes what most requests and a page cost.
    pub(super) fn charge_one(&self, now: Timestamp) -> Result<(), Refusal> {
        self.charge_sender(1, now)
    }

    /// Takes what a request costs from everyone who pays for it, and refuses what there is too much of already.
    pub(super) fn charge(
        &self,
        account: Option<AccountId>,
        request: &Request,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.charge_sender(cost(request), now)?;
        let Some(account) = account else { return Ok(()) };
        self.charge_room(account, request, now)?;
        if makes(request) {
            self.check_caps(account, request, now)?;
            self.charge_making(now)?;
        }
        Ok(())
    }

    fn charge_sender(&self, cost: u32, now: Timestamp) -> Result<(), Refusal> {
        let node = &self.shared.node;
        let (device, account) = {
            let limits = node.limits.read();
            (messages(&limits, 1), messages(&limits, limits.account_factor))
        };
        let spent = &node.sessions.spent;
        spent.devices.lock().take(self.key, cost, device, now).map_err(|ms| too_fast("", ms))?;
        // Bots spend what is their owner's: many of them are no way to have more.
        if let Some(payer) = *self.payer.lock() {
            let taken = spent.accounts.lock().take(payer, cost, account, now);
            taken.map_err(|ms| too_fast(" on all devices and bots of this account together", ms))?;
        }
        Ok(())
    }

    fn charge_room(&self, account: AccountId, request: &Request, now: Timestamp) -> Result<(), Refusal> {
        let node = &self.shared.node;
        let written = self.ask(|engine| written_room(engine, account, request));
        let Some(room) = written.answer else { return Ok(()) };
        let rate = {
            let limits = node.limits.read();
            messages(&limits, limits.room_factor)
        };
        let taken = node.sessions.spent.rooms.lock().take(room, 1, rate, now);
        taken.map_err(|ms| too_fast(" in this room together", ms))
    }

    fn charge_making(&self, now: Timestamp) -> Result<(), Refusal> {
        let node = &self.shared.node;
        let Some(payer) = *self.payer.lock() else { return Ok(()) };
        let rate = Rate { burst: node.limits.read().makings, every_us: RARE_US };
        let taken = node.sessions.spent.makings.lock().take(payer, 1, rate, now);
        taken.map_err(|ms| rare("this account made too many rooms, links and tokens", ms))
    }

    /// Takes one attempt at a code, or at an account, from the address' budget.
    pub(super) fn charge_attempt(&self, now: Timestamp) -> Result<(), Refusal> {
        let node = &self.shared.node;
        let address = source(self.connection.remote_address().ip());
        let rate = Rate { burst: node.limits.read().code_attempts, every_us: RARE_US };
        let taken = node.sessions.spent.codes.lock().take(address, 1, rate, now);
        taken.map_err(|ms| rare("too many codes and names were tried from this address", ms))
    }

    /// An operator's limits. They can change, so the engine, which must decide the same for ever, knows them not; what
    /// is asked at once may pass them together.
    fn check_caps(&self, account: AccountId, request: &Request, now: Timestamp) -> Result<(), Refusal> {
        let limits = self.shared.node.limits.read().clone();
        let (what, most, todo) = match request {
            Request::CreateRoom { .. } => ("rooms of its own", limits.rooms_per_account, "archive one first"),
            Request::NewInvite { .. } => {
                ("open links", limits.invites_per_account, "wait until some are used")
            }
            Request::NewDeviceCode => ("devices", limits.devices_per_account, "revoke one first"),
            Request::NewToken { .. } => ("bots", limits.bots_per_account, "give one of yours another token"),
            _ => return Ok(()),
        };
        let has = self.ask(|engine| match request {
            Request::CreateRoom { .. } => engine.owned_rooms(account),
            Request::NewInvite { .. } => engine.open_codes(account, now).0,
            Request::NewDeviceCode => engine.live_devices(account) + engine.open_codes(account, now).1,
            // Another token of a bot makes no bot.
            Request::NewToken { name, .. } if engine.account_named(name).is_ok() => 0,
            _ => engine.bots(account).count(),
        });
        if has.answer < most as usize {
            return Ok(());
        }
        let text = format!("an account has at most {most} {what} here; {todo}, or ask the server's operator");
        Err(Refusal::new(ErrorCode::TooMany, text))
    }
}

fn too_fast(whose: &str, after_ms: u32) -> Refusal {
    let text = format!("too fast{whose}; try again in {after_ms} ms");
    Refusal::retry(ErrorCode::RateLimited, text, after_ms)
}

fn rare(what: &str, after_ms: u32) -> Refusal {
    let text = format!("{what}; wait {} s", after_ms.div_ceil(1_000));
    Refusal::retry(ErrorCode::RateLimited, text, after_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shakes_hands_at_its_rate_and_loopback_at_any() {
        let limits =
            LimitsConfig { burst_handshakes: 2, handshakes_per_second: 10, ..LimitsConfig::default() };
        let spent = Spent::default();
        let [local, near, same, far] =
            ["127.0.0.1", "2001:db8::1", "2001:db8::2", "10.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        for address in [local, local, local, near, near] {
            assert!(spent.may_shake_hands(address, &limits, Timestamp(0)), "{address}");
            spent.shook_hands(address, &limits, Timestamp(0));
        }
        assert!(spent.may_shake_hands(local, &limits, Timestamp(0)));
        assert!(spent.may_shake_hands(far, &limits, Timestamp(0)), "another address");
        assert!(!spent.may_shake_hands(same, &limits, Timestamp(0)), "of the same /64");
        assert!(spent.may_shake_hands(same, &limits, Timestamp(100)));
        // Asking alone takes nothing: a forged address is only ever asked about.
        assert!(spent.may_shake_hands(same, &limits, Timestamp(100)));
    }

    #[test]
    fn a_request_costs_by_the_names_in_it() {
        let create = |members: usize| Request::CreateRoom {
            name: "ops".parse().unwrap(),
            private: false,
            topic: quip_protocol::SafeLine::default(),
            members: vec!["ann".parse().unwrap(); members],
        };
        assert_eq!([0, 9, 10, 10_000, 10_001].map(|n| cost(&create(n))), [1, 1, 2, 1_001, 1]);
        assert_eq!(cost(&Request::WhoAmI), 1);
    }
}

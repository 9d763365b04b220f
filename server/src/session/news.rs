//! Which changes of presence are told, and when. PURE: time and how somebody is are arguments.
//!
//! A connection that breaks and is back in some seconds is no news, and who comes and goes time after time is told of
//! now and then alone.

use std::collections::HashMap;

use quip_protocol::{AccountId, Timestamp};

use super::presence::Presence;

/// What changes is told when it has lasted this long, in milliseconds: much that is soon different again is never said.
const SETTLED_MS: u64 = 1_000;
/// The same of who is gone: most reconnect.
const GONE_MS: u64 = 4_000;
/// Of one account nothing is told sooner than this after the last time, in milliseconds.
const QUIET_MS: u64 = 5_000;

/// What others have yet to be told, and what they were.
#[derive(Debug, Default)]
pub struct News {
    /// Since when something may be different.
    pending: HashMap<AccountId, Timestamp>,
    /// What was told last, and when. Who is not in it is offline: so these are as many as are connected, and those
    /// who just were.
    told: HashMap<AccountId, (Presence, Timestamp)>,
}

impl News {
    /// Something of the account's connections has changed.
    pub fn changed(&mut self, account: AccountId, now: Timestamp) {
        self.pending.entry(account).or_insert(now);
    }

    /// What is to be told now, of so many accounts at most. `is` says how an account is.
    pub fn take(
        &mut self,
        now: Timestamp,
        most: usize,
        is: impl Fn(AccountId) -> Presence,
    ) -> Vec<(AccountId, Presence)> {
        let News { pending, told } = self;
        let mut due = Vec::new();
        pending.retain(|account, since| {
            let (is, before) = (is(*account), told.get(account));
            if is == before.map_or(Presence::Offline, |(before, _)| before.clone()) {
                return false;
            }
            if due.len() >= most || now < due_at(*since, &is, before) {
                return true;
            }
            due.push((*account, is));
            false
        });
        for (account, is) in &due {
            match is {
                Presence::Offline => drop(told.remove(account)),
                is => drop(told.insert(*account, (is.clone(), now))),
            }
        }
        due
    }

    /// How an account is is not told, as if it had been: of very many at once, who asks is told.
    pub fn know(&mut self, account: AccountId, is: Presence, now: Timestamp) {
        self.pending.remove(&account);
        match is {
            Presence::Offline => drop(self.told.remove(&account)),
            is => drop(self.told.insert(account, (is, now))),
        }
    }

    /// Whether everything was told.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

fn due_at(since: Timestamp, is: &Presence, before: Option<&(Presence, Timestamp)>) -> Timestamp {
    let settled = since.plus_ms(if *is == Presence::Offline { GONE_MS } else { SETTLED_MS });
    settled.max(before.map_or(settled, |(_, at)| at.plus_ms(QUIET_MS)))
}

#[cfg(test)]
mod tests {
    use quip_protocol::SafeLine;

    use super::*;

    const ANN: AccountId = AccountId(1);

    fn away(text: &str) -> Presence {
        Presence::Away { since: Timestamp(0), text: SafeLine::new(text) }
    }

    #[test]
    fn what_lasts_is_told_once() {
        use Presence::{Offline, Online};
        let mut news = News::default();
        // When, whether something changed then, how ann is, what is told.
        let table = [
            (0, true, Online, None),
            (999, false, Online, None),
            (1_000, false, Online, Some(Online)),
            (2_000, true, Online, None),
            // Away, soon after.
            (3_000, true, away("lunch"), None),
            (5_999, false, away("lunch"), None),
            (6_000, false, away("lunch"), Some(away("lunch"))),
            // She reconnects.
            (20_000, true, Offline, None),
            (23_999, false, Offline, None),
            (23_999, true, away("lunch"), None),
            (24_000, false, away("lunch"), None),
            // She is gone.
            (30_000, true, Offline, None),
            (33_999, false, Offline, None),
            (34_000, false, Offline, Some(Offline)),
            (40_000, true, Offline, None),
        ];
        for (at, changed, is, told) in table {
            if changed {
                news.changed(ANN, Timestamp(at));
            }
            let taken = news.take(Timestamp(at), 10, |_| is.clone());
            assert_eq!(taken, told.into_iter().map(|is| (ANN, is)).collect::<Vec<_>>(), "at {at}");
        }
        assert!(news.is_empty() && news.told.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn who_comes_and_goes_all_the_time_is_told_of_now_and_then() {
        // How long each state lasts, and how often one is told within a minute.
        for (lasts, expected) in [(500, 1), (7_000, 9)] {
            let (mut news, mut told) = (News::default(), 0);
            for at in (0..60_000).step_by(500) {
                let is = if (at / lasts) % 2 == 0 { Presence::Online } else { away("") };
                news.changed(ANN, Timestamp(at));
                told += news.take(Timestamp(at), 10, |_| is.clone()).len();
            }
            assert_eq!(told, expected, "each lasts {lasts} ms");
        }
    }

    #[test]
    fn what_is_known_is_not_told_and_what_is_different_then_is() {
        use Presence::{Offline, Online};
        let mut news = News::default();
        news.changed(ANN, Timestamp(0));
        news.know(ANN, Online, Timestamp(0));
        assert!(news.is_empty());
        news.changed(ANN, Timestamp(0));
        assert_eq!(news.take(Timestamp(9_000), 10, |_| Online), []);
        news.changed(ANN, Timestamp(9_000));
        assert_eq!(news.take(Timestamp(20_000), 10, |_| Offline), [(ANN, Offline)]);
        news.know(ANN, Online, Timestamp(0));
        news.know(ANN, Offline, Timestamp(0));
        assert!(news.told.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn of_many_at_once_only_so_many_are_told_and_none_is_forgotten() {
        let mut news = News::default();
        (0..250).for_each(|n| news.changed(AccountId(n), Timestamp(0)));
        let told = |news: &mut News, at| news.take(Timestamp(at), 100, |_| Presence::Online).len();
        let counts = [500, 1_000, 2_000, 3_000, 4_000].map(|at| told(&mut news, at));
        assert_eq!((counts, news.is_empty()), ([0, 100, 100, 50, 0], true));
    }
}

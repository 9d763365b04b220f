//! Those who come and go without a word between: many events, one line. Imports `rows`.

use quip_protocol::{AccountName, Event, EventBody};

use super::rows::Layout;

/// Names are said up to here; more are counted.
const NAMED: usize = 3;

/// Events of one line.
pub struct Crowd<'a> {
    /// The first of them.
    pub first: &'a Event,
    /// The last one first.
    joined: Vec<&'a AccountName>,
    left: Vec<&'a AccountName>,
}

/// Where an event stands among those who come and go.
pub enum Place<'a> {
    /// It has a line of its own.
    Alone,
    /// It is said in the line of a later one.
    Before,
    /// The line of all of them stands here.
    Last(Crowd<'a>),
}

fn is_noise(event: &Event) -> bool {
    matches!(event.body, EventBody::Joined | EventBody::Left)
}

impl<'a> Crowd<'a> {
    /// The place of `event` in the layout.
    pub fn of(layout: &Layout<'a>, event: &'a Event) -> Place<'a> {
        if !is_noise(event) {
            return Place::Alone;
        }
        let together = |before: &Event, after: &Event| is_noise(after) && !layout.divided(before, after);
        if layout.following(event.seq.0).is_some_and(|next| together(event, next)) {
            return Place::Before;
        }
        let mut crowd = Crowd { first: event, joined: Vec::new(), left: Vec::new() };
        crowd.add(event);
        while let Some(before) = layout.previous(crowd.first.seq.0) {
            if !is_noise(before) || layout.divided(before, crowd.first) {
                break;
            }
            crowd.first = before;
            crowd.add(before);
        }
        if crowd.first.seq == event.seq { Place::Alone } else { Place::Last(crowd) }
    }

    fn add(&mut self, event: &'a Event) {
        let names = if event.body == EventBody::Joined { &mut self.joined } else { &mut self.left };
        names.push(&event.author);
    }

    /// The sign before the line.
    pub fn sign(&self) -> &'static str {
        if self.joined.is_empty() { "←" } else { "→" }
    }

    /// The line.
    pub fn line(&self) -> String {
        let parts = [(&self.joined, "joined"), (&self.left, "left")];
        let said = |(names, what): (&Vec<&AccountName>, &str)| match names.len() {
            0 => None,
            1..=NAMED => {
                let names: Vec<&str> = names.iter().rev().map(|name| name.as_str()).collect();
                Some(format!("{} {what}", names.join(", ")))
            }
            count => Some(format!("{count} {what}")),
        };
        parts.into_iter().filter_map(said).collect::<Vec<_>>().join("; ")
    }
}

//! A room's events on their way to the output: in order, each once, and a hole shown as a hole.

use jiff::tz::TimeZone;
use quip_protocol::{Event, Seq, Target};

use super::exit::CliError;
use super::human;
use super::json::Line;
use super::out::Out;

/// Prints the events of one room.
#[derive(Debug)]
pub struct Render {
    target: Target,
    zone: TimeZone,
    /// Whether people are told the room, because there is more than one.
    with_room: bool,
    /// Whether people see edits, deletions and reactions: a page has messages as they are now, and needs none.
    pub amendments: bool,
    last: Option<Seq>,
}

impl Render {
    /// For the events of `target` behind `last`; `None` takes the first that comes.
    pub fn new(target: Target, last: Option<Seq>) -> Render {
        Render { target, zone: TimeZone::system(), with_room: false, amendments: false, last }
    }

    /// Tells people the room on each line.
    #[must_use]
    pub fn with_room(self, with_room: bool) -> Render {
        Render { with_room, ..self }
    }

    /// The room.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Prints an event, and what is missing before it. One that was printed is not printed again.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn event(&mut self, event: &Event, out: &mut Out) -> Result<(), CliError> {
        if self.last.is_some_and(|last| event.seq <= last) {
            return Ok(());
        }
        self.gap_before(event.seq, out)?;
        self.last = Some(event.seq);
        if out.is_json() {
            return out.object(&Line::event(&self.target, event));
        }
        if event.body.amends().is_some() && !self.amendments {
            return Ok(());
        }
        out.line(&human::event(event, self.with_room.then_some(&self.target), &self.zone))
    }

    /// Says which events before `seq` did not come.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn gap_before(&mut self, seq: Seq, out: &mut Out) -> Result<(), CliError> {
        let Some(from) = self.last.map(Seq::next).filter(|from| *from < seq) else { return Ok(()) };
        let to = Seq(seq.0 - 1);
        self.last = Some(to);
        let room = &self.target;
        out.show(&Line::Gap { room, from, to }, || human::gap(room, from, to))
    }

    /// What was printed behind `keep` is void and comes again.
    pub fn reset(&mut self, keep: Seq) {
        self.last = self.last.map(|last| last.min(keep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::Written;
    use crate::cli::pages::tests::{event, message};
    use quip_protocol::EventBody;

    fn printed(json: bool, act: impl Fn(&mut Render, &mut Out)) -> Vec<String> {
        let written = Written::default();
        let mut out = Out::to(written.clone(), json);
        let mut render = Render::new("#ops".parse().unwrap(), Some(Seq::ZERO));
        render.zone = TimeZone::UTC;
        act(&mut render, &mut out);
        out.flush().unwrap();
        written.text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_hole_is_shown_and_nothing_comes_twice() {
        let act = |render: &mut Render, out: &mut Out| {
            for seq in [1, 2, 2, 1, 5, 4, 6] {
                render.event(&message(seq, "m"), out).unwrap();
            }
            render.reset(Seq(4));
            for seq in [5, 6] {
                render.event(&message(seq, "again"), out).unwrap();
            }
        };
        let lines = printed(false, act);
        let line = |seq, text| format!("2026-11-20 23:16 {seq} <ann> {text}");
        let expected = [
            line(1, "m"),
            line(2, "m"),
            "-- 3 to 4 of #ops are missing --".into(),
            line(5, "m"),
            line(6, "m"),
            line(5, "again"),
            line(6, "again"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(printed(true, act)[2], r##"{"type":"gap","room":"#ops","from":3,"to":4}"##);
    }

    #[test]
    fn amendments_are_for_programs_and_for_who_watches() {
        let edit = || {
            let id = quip_protocol::MessageId::from_bytes([1; 16]);
            event(1, EventBody::Edited { target: Seq(9), id, text: "new".into(), drops: None })
        };
        for (json, amendments, lines) in [(false, false, 0), (false, true, 1), (true, false, 1)] {
            let printed = printed(json, |render, out| {
                render.amendments = amendments;
                render.event(&edit(), out).unwrap();
            });
            assert_eq!(printed.len(), lines);
        }
    }
}

//! The codec, for any value and any bytes: what is encoded is decoded, and nothing else does harm.

#![allow(clippy::unwrap_used, reason = "the allowance for tests does not reach their helpers")]

mod strategies;

use bytes::BytesMut;
use proptest::prelude::*;
use quip_protocol::codec::{
    CodecError, FrameKind, LENGTH_BYTES, decode, decode_datagram, decode_stored_event, encode,
    encode_datagram, encode_event, encode_frame, put_stored, take_frame,
};
use quip_protocol::datagram::{Datagram, Presence};
use quip_protocol::frame::{Hello, Labelled, PageEnd, PageRequest, Push, Reply, Request, Welcome};
use quip_protocol::limits::{
    MAX_AWAY, MAX_DATAGRAM, MAX_EDITS_KEPT, MAX_EMOJI, MAX_EVENT_FRAME, MAX_LINE, MAX_LISTED, MAX_NAMES,
    MAX_ORIGINAL, MAX_REACTIONS, MAX_REACTORS, MAX_REPLY_FRAME, MAX_REQUEST_FRAME, MAX_TEXT,
};
use quip_protocol::{Event, EventBody, Message, Notice, Reaction, RoomId, SafeLine, SafeText};
use serde::Serialize;
use serde::de::DeserializeOwned;
use strategies::{
    account, datagram, event, labelled, notice, page_end, page_request, push, reply, request, summary,
};

/// Through a frame and back, also when the frame arrives in two pieces with another behind it.
fn round_trip<T>(kind: FrameKind, value: &T, cut: prop::sample::Index) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = encode_frame(kind, value);
    let twice = [bytes.as_ref(), bytes.as_ref()].concat();
    let cut = cut.index(bytes.len());
    let mut buffer = BytesMut::from(&twice[..cut]);
    prop_assert_eq!(take_frame(&mut buffer, bytes.len()), Ok(None));
    buffer.extend_from_slice(&twice[cut..]);
    for _ in 0..2 {
        let frame = take_frame(&mut buffer, bytes.len() - LENGTH_BYTES).unwrap().unwrap();
        prop_assert_eq!(&frame.decode::<T>(kind, "value").unwrap(), value);
    }
    prop_assert!(buffer.is_empty());
    Ok(())
}

/// If bytes are a value, the value's bytes are that value again.
fn decodes_or_not<T>(bytes: &[u8]) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    if let Ok(value) = decode::<T>(bytes, "value") {
        prop_assert_eq!(&decode::<T>(&encode(&value), "value").unwrap(), &value);
    }
    Ok(())
}

fn any_type(bytes: &[u8]) -> Result<(), TestCaseError> {
    decodes_or_not::<Event>(bytes)?;
    decodes_or_not::<Notice>(bytes)?;
    decodes_or_not::<Labelled<Request>>(bytes)?;
    decodes_or_not::<Labelled<Reply>>(bytes)?;
    decodes_or_not::<Hello>(bytes)?;
    decodes_or_not::<Welcome>(bytes)?;
    decodes_or_not::<Push>(bytes)?;
    decodes_or_not::<PageRequest>(bytes)?;
    decodes_or_not::<PageEnd>(bytes)
}

proptest! {
    #[test]
    fn events_round_trip(event in event(), cut: prop::sample::Index) {
        round_trip(FrameKind::Event, &event, cut)?;
        let frame = encode_event(&event);
        let stored = &frame[LENGTH_BYTES..];
        prop_assert_eq!(&decode_stored_event(stored).unwrap(), &event);
        let mut again = BytesMut::new();
        put_stored(&mut again, stored);
        prop_assert_eq!(again.freeze(), frame);
    }

    #[test]
    fn notices_round_trip(notice in notice(), cut: prop::sample::Index) {
        round_trip(FrameKind::Notice, &notice, cut)?;
    }

    #[test]
    fn requests_round_trip(request in labelled(request()), cut: prop::sample::Index) {
        round_trip(FrameKind::Request, &request, cut)?;
    }

    #[test]
    fn replies_round_trip(reply in labelled(reply()), cut: prop::sample::Index) {
        round_trip(FrameKind::Reply, &reply, cut)?;
    }

    #[test]
    fn the_rest_round_trips(push in push(), page in page_request(), end in page_end(), cut: prop::sample::Index) {
        round_trip(FrameKind::Push, &push, cut)?;
        round_trip(FrameKind::Page, &page, cut)?;
        round_trip(FrameKind::PageEnd, &end, cut)?;
    }

    #[test]
    fn datagrams_round_trip_and_other_bytes_are_none(
        said in datagram(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let encoded = encode_datagram(&said);
        prop_assert_eq!(&decode_datagram(&encoded), &Ok(said));
        prop_assert!(decode_datagram(&encoded[..encoded.len() - 1]).is_err());
        prop_assert!(decode_datagram(&[&encoded[..], &[0]].concat()).is_err());
        if let Ok(value) = decode_datagram(&bytes) {
            prop_assert_eq!(decode_datagram(&encode_datagram(&value)), Ok(value));
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        any_type(&bytes)?;
        let mut buffer = BytesMut::from(bytes.as_slice());
        if let Ok(Some(frame)) = take_frame(&mut buffer, 100) {
            prop_assert!(frame.body.len() < 100);
        }
    }

    #[test]
    fn a_value_with_some_bytes_changed_is_a_value_or_an_error(
        event in event(),
        request in labelled(request()),
        reply in labelled(reply()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
    ) {
        for mut bytes in [encode(&event), encode(&request), encode(&reply)] {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            any_type(&bytes)?;
            any_type(&bytes[..cut.index(bytes.len())])?;
        }
    }

    #[test]
    fn a_value_with_bytes_behind_it_is_none(event in event(), more in prop::collection::vec(any::<u8>(), 1..9)) {
        let bytes = [encode(&event), more].concat();
        prop_assert_eq!(decode::<Event>(&bytes, "event"), Err(CodecError::Malformed("event")));
    }
}

fn longest_name() -> quip_protocol::AccountName {
    account("a23456789012345678901234567890zz")
}

#[test]
fn the_largest_datagram_is_one() {
    let largest = Datagram::TypingBy { room: RoomId(u64::MAX), who: longest_name() };
    assert_eq!(decode_datagram(&encode_datagram(&largest)), Ok(largest));
    let now = Presence::Away { text: SafeLine::new(&"x".repeat(MAX_AWAY)) };
    let largest = Datagram::Presence { who: longest_name(), now };
    assert_eq!(decode_datagram(&encode_datagram(&largest)), Ok(largest));
    assert_eq!(
        decode_datagram(&[8; MAX_DATAGRAM + 1]),
        Err(CodecError::TooLong { length: MAX_DATAGRAM as u64 + 1, limit: MAX_DATAGRAM })
    );
}

#[test]
fn a_reply_full_of_those_who_are_away_fits_its_frame() {
    let text = SafeLine::new(&"x".repeat(MAX_AWAY));
    let away = quip_protocol::room::AwaySummary { name: longest_name(), text };
    let reply = Reply::Away { members: vec![away; MAX_LISTED as usize], more: true };
    let frame = encode_frame(FrameKind::Reply, &Labelled { label: u32::MAX, body: reply });
    assert!(frame.len() <= LENGTH_BYTES + MAX_REPLY_FRAME, "{}", frame.len());
}

#[test]
fn the_largest_event_fits_its_frame() {
    let mut message = Message::new(
        quip_protocol::MessageId::from_bytes([255; 16]),
        quip_protocol::MessageKind::Action,
        SafeText::new(&"x".repeat(MAX_TEXT)),
        Some(quip_protocol::Seq(u64::MAX)),
    );
    let by = vec![longest_name(); MAX_REACTORS / MAX_REACTIONS];
    let emoji = SafeLine::new(&"e".repeat(MAX_EMOJI));
    message.reactions = vec![Reaction { emoji, by }; MAX_REACTIONS];
    message.original = Some(SafeText::new(&"x".repeat(MAX_ORIGINAL)));
    message.edits = vec![quip_protocol::Seq(u64::MAX); MAX_EDITS_KEPT];
    let event = Event {
        room: quip_protocol::RoomId(u64::MAX),
        epoch: quip_protocol::Epoch(u32::MAX),
        seq: quip_protocol::Seq(u64::MAX),
        at: quip_protocol::Timestamp(u64::MAX),
        ordinal: u64::MAX,
        author: longest_name(),
        body: EventBody::Message(message),
    };
    assert!(encode_event(&event).len() <= LENGTH_BYTES + MAX_EVENT_FRAME);
}

#[test]
fn the_largest_requests_and_replies_fit_their_frames() {
    let topic = SafeLine::new(&"t".repeat(MAX_LINE));
    let room: quip_protocol::RoomName = "r".repeat(64).parse().unwrap();
    let members = vec![longest_name(); MAX_NAMES];
    let create = Request::CreateRoom { name: room.clone(), private: true, topic: topic.clone(), members };
    let request = Labelled { label: u32::MAX, body: create };
    assert!(encode_frame(FrameKind::Request, &request).len() <= LENGTH_BYTES + MAX_REQUEST_FRAME);
    let summary = summary(quip_protocol::Target::Room(room), topic);
    let rooms = Reply::Rooms { rooms: vec![summary; MAX_LISTED as usize], more: true };
    let reply = Labelled { label: u32::MAX, body: rooms };
    assert!(encode_frame(FrameKind::Reply, &reply).len() <= LENGTH_BYTES + MAX_REPLY_FRAME);
}

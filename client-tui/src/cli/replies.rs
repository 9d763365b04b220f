//! Requests whose reply is of one kind. A reply of another kind is a mistake of the server.

use quip_protocol::client::{self, Handle};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::room::{AccountSummary, BotSummary, DeviceSummary, RoomSummary};
use quip_protocol::{InviteCode, SafeLine, Timestamp};

use super::exit::CliError;
use super::json::Deed;
use super::out::Out;

/// The answer is of another kind than asked.
pub fn unexpected() -> CliError {
    client::Error::Protocol(SafeLine::new("it answered something else than was asked")).into()
}

/// It is durable.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn done(handle: &Handle, request: Request) -> Result<(), CliError> {
    match handle.request(request).await? {
        Reply::Done => Ok(()),
        _ => Err(unexpected()),
    }
}

/// It is durable, and a program is told what was done.
///
/// # Errors
/// When it is refused, the connection breaks, or the output takes no more.
pub async fn did(handle: &Handle, request: Request, out: &mut Out) -> Result<(), CliError> {
    done(handle, request.clone()).await?;
    told(&request, out)
}

/// Tells a program what `request` did.
///
/// # Errors
/// When the output takes no more.
pub fn told(request: &Request, out: &mut Out) -> Result<(), CliError> {
    match Deed::of(request) {
        Some(deed) if out.is_json() => out.object(&deed),
        _ => Ok(()),
    }
}

/// A room.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn room(handle: &Handle, request: Request) -> Result<RoomSummary, CliError> {
    match handle.request(request).await? {
        Reply::Room(room) => Ok(room),
        _ => Err(unexpected()),
    }
}

/// A page of rooms, and whether there are more.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn rooms(handle: &Handle, request: Request) -> Result<(Vec<RoomSummary>, bool), CliError> {
    match handle.request(request).await? {
        Reply::Rooms { rooms, more } => Ok((rooms, more)),
        _ => Err(unexpected()),
    }
}

/// An account.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn account(handle: &Handle, request: Request) -> Result<AccountSummary, CliError> {
    match handle.request(request).await? {
        Reply::Account(account) => Ok(account),
        _ => Err(unexpected()),
    }
}

/// A secret, and until when it is good.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn code(handle: &Handle, request: Request) -> Result<(InviteCode, Timestamp), CliError> {
    match handle.request(request).await? {
        Reply::Code { code, expires } => Ok((code, expires)),
        _ => Err(unexpected()),
    }
}

/// This account's devices.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn devices(handle: &Handle) -> Result<Vec<DeviceSummary>, CliError> {
    match handle.request(Request::Devices).await? {
        Reply::Devices(devices) => Ok(devices),
        _ => Err(unexpected()),
    }
}

/// This account's bots.
///
/// # Errors
/// When it is refused, or the connection breaks.
pub async fn tokens(handle: &Handle) -> Result<Vec<BotSummary>, CliError> {
    match handle.request(Request::Tokens).await? {
        Reply::Tokens(tokens) => Ok(tokens),
        _ => Err(unexpected()),
    }
}

//! Runs a command and tells a room how it went: `cargo run --example ci_notifier '#builds' make test`.
//! Needs QUIP_SERVER and QUIP_TOKEN. Ends as the command ended, or 1 if the room could not be told.

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use quip_protocol::Target;
use quip_protocol::client::Client;
use tokio::process::Command;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(room), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err("usage: ci_notifier '#room' COMMAND [ARGUMENT…]".into());
    };
    let room: Target = room.parse()?;
    let client = Client::from_env().await?;
    let began = Instant::now();
    let status = Command::new(&program).args(arguments).status().await?;
    let result = if status.success() { "passed" } else { "FAILED" };
    client.send(&room, &format!("{program} {result} after {} s", began.elapsed().as_secs())).await?;
    client.close().await;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

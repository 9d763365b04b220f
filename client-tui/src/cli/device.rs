//! `quip device …`: the keys of one's account.

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use quip_protocol::frame::Request;
use quip_protocol::room::DeviceSummary;
use quip_protocol::{DeviceKey, ErrorCode};

use super::connect::{Connection, Stay, connect, open};
use super::env::Env;
use super::exit::CliError;
use super::human;
use super::invite::hand_out;
use super::json::Line;
use super::out::{Out, say};
use super::replies;

const EXAMPLES: &str = "Examples:
  quip device list
  quip device link            a link for your other machine: quip join 'LINK'
  quip device revoke laptop";

/// Lists your devices, links another one, revokes one that is lost.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeviceArgs {
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Lists the devices of your account
    #[command(after_help = "Example:\n  quip device list --json")]
    List,
    /// Prints a link, good for ten minutes, that gives your account to another device
    #[command(after_help = "Example:\n  quip device link\n  then, on the other machine: quip join 'LINK'")]
    Link,
    /// Takes your account away from a device; its connections end
    #[command(after_help = "Examples:\n  quip device revoke laptop\n  quip device revoke 3q2-7wE")]
    Revoke {
        /// Its key, the first characters of it, or its label, as `quip device list` shows them
        #[arg(value_name = "KEY", allow_hyphen_values = true)]
        device: String,
    },
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: DeviceArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    match &args.command {
        DeviceCommand::List => list(&connection, out).await?,
        DeviceCommand::Link => {
            let (code, expires) = replies::code(&connection.handle, Request::NewDeviceCode).await?;
            hand_out(&connection.server, code, expires, out)?;
        }
        DeviceCommand::Revoke { device } => revoke(env, &connection, device, out).await?,
    }
    connection.close().await;
    Ok(())
}

async fn list(connection: &Connection, out: &mut Out) -> Result<(), CliError> {
    let zone = TimeZone::system();
    // A connection has an account once it is made.
    let Some(account) = &connection.account else { return Ok(()) };
    for device in &replies::devices(&connection.handle).await? {
        let this = device.key == connection.key;
        out.show(&Line::device(account, device, this), || human::device(device, this, &zone))?;
    }
    Ok(())
}

async fn revoke(env: &Env, connection: &Connection, device: &str, out: &mut Out) -> Result<(), CliError> {
    let devices = replies::devices(&connection.handle).await?;
    let key = find(&devices, device)?;
    let request = Request::RevokeDevice { key };
    match replies::done(&connection.handle, request.clone()).await {
        // The connection that asks ends with its device, often before the answer: whether it was done is seen
        // by trying to come back.
        Err(error) if key == connection.key => {
            let again = open(env, connection.server.clone(), env.identity()?, Stay::Once).await;
            let refused = again.err().and_then(|error| error.refusal().map(|refusal| refusal.code));
            if refused != Some(ErrorCode::Revoked) {
                return Err(error);
            }
        }
        done => done?,
    }
    if key == connection.key {
        say("this was the device you are at: it has no account there any more");
    }
    replies::told(&request, out)
}

/// The one device that is meant.
fn find(devices: &[DeviceSummary], meant: &str) -> Result<DeviceKey, CliError> {
    let is_meant = |device: &&DeviceSummary| {
        !meant.is_empty() && (device.key.to_string().starts_with(meant) || device.label.as_str() == meant)
    };
    let mut found = devices.iter().filter(|device| !device.revoked).filter(is_meant);
    match (found.next(), found.next()) {
        (Some(device), None) => Ok(device.key),
        (None, _) => Err(CliError::Input(format!(
            "no device of yours is {meant:?}, or it is revoked already; `quip device list` shows them"
        ))),
        (Some(_), Some(_)) => Err(CliError::Input(format!(
            "more than one device of yours is {meant:?}; give more of its key, as `quip device list` shows it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use quip_protocol::Timestamp;

    #[test]
    fn which_device_is_meant() {
        let device = |byte: u8, label: &str, revoked| DeviceSummary {
            key: DeviceKey([byte; 32]),
            label: label.into(),
            added_at: Timestamp(0),
            revoked,
            online: false,
        };
        let devices = [
            device(1, "laptop", false),
            device(2, "phone", false),
            device(3, "phone", false),
            device(4, "old", true),
        ];
        let table = [
            ("laptop".to_owned(), Ok(1)),
            (DeviceKey([2; 32]).to_string(), Ok(2)),
            (DeviceKey([3; 32]).to_string()[..6].to_owned(), Ok(3)),
            ("phone".to_owned(), Err("more than one")),
            ("old".to_owned(), Err("no device")),
            (String::new(), Err("no device")),
        ];
        for (meant, expected) in table {
            match (find(&devices, &meant), expected) {
                (Ok(key), Ok(byte)) => assert_eq!(key, DeviceKey([byte; 32]), "{meant}"),
                (Err(error), Err(part)) => {
                    assert_eq!(error.exit(), Exit::Refused);
                    assert!(error.to_string().contains(part), "{meant}: {error}");
                }
                (found, _) => panic!("{meant}: {found:?}"),
            }
        }
    }
}

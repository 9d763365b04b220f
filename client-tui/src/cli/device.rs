//! `quip device …`: the keys of one's account.

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use quip_protocol::frame::Request;
use quip_protocol::room::DeviceSummary;
use quip_protocol::{DeviceKey, ErrorCode};

use super::ask;
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
        /// Also the only one, without a question: nobody can use the account any more
        #[arg(long)]
        yes: bool,
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
        DeviceCommand::Revoke { device, yes } => {
            let devices = replies::devices(&connection.handle).await?;
            let key = find(&devices, device)?;
            if is_last(&devices, key) && !yes {
                be_sure(env)?;
            }
            revoke(env, &connection, key, out).await?;
        }
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

/// Whether the account has no other device.
fn is_last(devices: &[DeviceSummary], key: DeviceKey) -> bool {
    devices.iter().all(|device| device.revoked || device.key == key)
}

/// Asks whoever sits there; without anybody, it is not done.
fn be_sure(env: &Env) -> Result<(), CliError> {
    const LAST: &str =
        "this is the only device of your account, and without it nobody can use the account again";
    if env.can_ask && ask::sure(&format!("{LAST}. Revoke it?"))? {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "{LAST}; nothing was done: `quip device link` adds another one, --yes revokes it all the same"
    )))
}

async fn revoke(env: &Env, connection: &Connection, key: DeviceKey, out: &mut Out) -> Result<(), CliError> {
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
        assert!(!is_last(&devices, DeviceKey([1; 32])), "there are phones");
        assert!(is_last(&devices[3..], DeviceKey([4; 32])));
        assert!(
            is_last(&[devices[0].clone(), devices[3].clone()], DeviceKey([1; 32])),
            "a revoked one is none"
        );
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

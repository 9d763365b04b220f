//! A disk that fills up while people talk, and is freed; and a server whose threads panic. Nobody starts anything again
//! but after a kill -9, and what was acknowledged is there, once.

use std::fs::File;
use std::io::Write as _;

use quip_protocol::Target;
use quip_protocol::client::Client;
use quip_tests::{Quip, Server, eventually, join, within};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::crash::{check_receipts, history, send_until};

const SENDERS: usize = 3;
const DISK_MIB: u32 = 96;

/// How the disk is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fill {
    /// To the last byte, with another file.
    File,
    /// The same without a reserve, so that journal and store run into it.
    FileUnreserved,
    /// Not at all: the reserve is made larger than any disk.
    Reserve,
}

/// Only a small disk of its own can be filled to the last byte; where none can be mounted, the reserve is raised on
/// whatever disk there is.
#[tokio::test(flavor = "multi_thread")]
async fn filled_to_the_last_byte_and_freed() {
    let (server, mounted) = Server::on_small_disk(DISK_MIB, &config(16));
    rounds(server, if mounted { Fill::File } else { Fill::Reserve }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_into_without_a_reserve_and_freed() {
    let (server, mounted) = Server::on_small_disk(DISK_MIB, &config(0));
    rounds(server, if mounted { Fill::FileUnreserved } else { Fill::Reserve }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_reserve_and_above_it_again() {
    rounds(Server::with_config(&config(1)), Fill::Reserve).await;
}

fn config(reserve_mib: u64) -> String {
    let limits = "[limits]\nmessages_per_second = 100000\nburst_messages = 100000";
    format!("http = \"127.0.0.1:0\"\ndisk_reserve_mib = {reserve_mib}\n{limits}")
}

impl Fill {
    fn fill(self, server: &Server) {
        match self {
            Fill::File | Fill::FileUnreserved => {
                let mut file = File::create(server.data_dir().join("filler")).unwrap();
                let chunk = vec![0x5A; 1 << 20];
                let full = (0..=DISK_MIB).find_map(|_| file.write_all(&chunk).err());
                assert!(full.is_some(), "the disk is as small as it was asked for");
            }
            Fill::Reserve => server.reconfigure(&config(1 << 40)),
        }
    }

    fn free(self, server: &Server) {
        match self {
            Fill::File | Fill::FileUnreserved => {
                std::fs::remove_file(server.data_dir().join("filler")).unwrap()
            }
            Fill::Reserve => server.reconfigure(&config(1)),
        }
    }

    /// The same for a server that does not run.
    fn free_for_start(self, server: &Server) {
        match self {
            Fill::File | Fill::FileUnreserved => self.free(server),
            Fill::Reserve => server.write_config(&config(1)),
        }
    }
}

async fn rounds(mut server: Server, fill: Fill) {
    let owner = join(server.owner.as_ref().unwrap(), "owner").await;
    let invite = server.invite(&["--uses", "10"]);
    let script = Quip::joined(&invite, "script");
    let (stop, stopped) = watch::channel(false);
    let (progress, mut acknowledged) = watch::channel(0usize);
    let senders = start_senders(&invite, &stopped, &progress).await;
    for round in 0..3 {
        let enough = *acknowledged.borrow() + 40;
        within("messages are acknowledged", acknowledged.wait_for(|n| *n >= enough)).await.unwrap();
        fill.fill(&server);
        eventually("it is not ready", || (server.http("/readyz").0 == 503).then_some(()));
        assert!(server.http("/metrics").1.contains("\nquip_ready 0\n"));
        if fill != Fill::FileUnreserved {
            check_reading(&script);
        }
        check_cuts(&server);
        if round == 0 && fill == Fill::File {
            // It is patient for half a minute first.
            let refused = script.run(&["send", "#general", "no room for this"]);
            let said: Vec<&str> = refused.stderr.lines().collect();
            let [waits, ends] = said[..] else { panic!("{refused:?}") };
            assert_eq!(refused.code, 75);
            assert!(waits.ends_with("waiting for at most 30 s"), "{refused:?}");
            assert!(ends.starts_with("quip: the message to #general was not acknowledged: "), "{refused:?}");
            assert!(ends.contains("full") || ends.contains("cannot write"), "{refused:?}");
        }
        if round == 2 {
            server.kill();
            fill.free_for_start(&server);
            server.restart();
        } else {
            fill.free(&server);
        }
        eventually("it is ready again by itself", || (server.http("/readyz").0 == 200).then_some(()));
        assert!(server.http("/metrics").1.contains("\nquip_ready 1\n"));
    }
    let enough = *acknowledged.borrow() + 40;
    within("the senders go on by themselves", acknowledged.wait_for(|n| *n >= enough)).await.unwrap();
    stop.send(true).unwrap();
    let receipts = senders.join_all().await;
    check_receipts(&receipts, &history(&owner, &"#general".parse().unwrap()).await);

    server.kill();
    server.restart();
    check_receipts(&receipts, &history(&owner, &"#general".parse().unwrap()).await);
    assert!(server.stop());
    server.admin(&["check"]);
}

/// Copies of what was cut off a journal; on a full disk there is none, and none that is empty or was begun.
fn check_cuts(server: &Server) {
    for entry in std::fs::read_dir(server.data_dir().join("journal")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with("cut-") || entry.metadata().unwrap().len() > 0, "{name} is empty");
    }
}

/// Where the store can be opened, the server reads; and it writes when there is room, without another start.
#[tokio::test(flavor = "multi_thread")]
async fn started_below_the_reserve_it_reads() {
    let mut server = Server::with_config(&config(1));
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    for text in ["1", "2", "3", "4", "5"] {
        ann.run(&["send", "#general", text]).ok();
    }
    server.kill();
    server.write_config(&config(1 << 40));
    server.restart();
    assert_eq!(server.http("/readyz").0, 503);
    check_reading(&ann);
    server.reconfigure(&config(1));
    eventually("it is ready again by itself", || (server.http("/readyz").0 == 200).then_some(()));
    ann.run(&["send", "#general", "6"]).ok();
}

/// Without a byte of room sled cannot be opened: the start says so, changes nothing, and the next one with room has all.
#[tokio::test(flavor = "multi_thread")]
async fn started_without_any_room_it_says_so() {
    let (mut server, mounted) = Server::on_small_disk(DISK_MIB, &config(0));
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    for text in ["1", "2", "3", "4", "5"] {
        ann.run(&["send", "#general", text]).ok();
    }
    server.kill();
    if !mounted {
        return server.restart();
    }
    Fill::FileUnreserved.fill(&server);
    for _ in 0..3 {
        let data = server.data_dir();
        let mut quipd = std::process::Command::new(quip_tests::binary("quipd"));
        let output = quipd.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let said = stderr.lines().last().unwrap_or_default();
        assert!(said.contains("is full") && said.contains("free some and start it again"), "{stderr}");
    }
    Fill::FileUnreserved.free(&server);
    server.restart();
    check_reading(&ann);
}

async fn start_senders(
    invite: &quip_protocol::ServerLink,
    stopped: &watch::Receiver<bool>,
    progress: &watch::Sender<usize>,
) -> JoinSet<Vec<quip_protocol::Receipt>> {
    let general: Target = "#general".parse().unwrap();
    let mut senders = JoinSet::new();
    for n in 0..SENDERS {
        let client: Client = join(invite, &format!("sender{n}")).await;
        senders.spawn(send_until(client, general.clone(), stopped.clone(), progress.clone()));
    }
    senders
}

fn check_reading(script: &Quip) {
    let read = script.run(&["history", "#general", "-n", "5", "--json"]).ok();
    assert_eq!(read.lines().filter(|line| line.contains("\"seq\"")).count(), 5, "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_panics_ends_the_process() {
    for fault in ["writer-panics", "store-panics"] {
        let mut server = Server::with_config(&config(1));
        let owner = join(server.owner.as_ref().unwrap(), "owner").await;
        let sender = join(&server.invite(&[]), "sender").await;
        assert!(server.stop());
        server.restart_with(&[("QUIPD_FAULT", fault)]);
        let (stop, stopped) = watch::channel(false);
        let (progress, mut acknowledged) = watch::channel(0usize);
        let sending = tokio::spawn(send_until(sender, "#general".parse().unwrap(), stopped, progress));
        assert_eq!(server.ended(), 1, "{fault}: a service manager starts it again");
        assert!(server.log().contains("panicked: quipd ends"), "{}", server.log());
        server.restart();
        within("the sender goes on by itself", acknowledged.wait_for(|n| *n >= 10)).await.unwrap();
        stop.send(true).unwrap();
        check_receipts(&[sending.await.unwrap()], &history(&owner, &"#general".parse().unwrap()).await);
    }
}

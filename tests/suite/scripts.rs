//! What scripts build on: cursors that the server keeps, messages that grow, waiting for a message. Real processes,
//! killed at random moments, from seeds.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::ops::RangeInclusive;
use std::process::{Child, Stdio};
use std::thread;

use quip_protocol::Target;
use quip_protocol::client::{Client, Post};
use quip_tests::{Quip, Random, Server, eventually, join};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::running::{Running, terminate};

const FAST: &str = "[limits]\nmessages_per_second = 100000\nburst_messages = 100000";
const ROUNDS: u64 = 50;
const EACH_ROUND: u64 = 200;

fn seq(line: &Value) -> u64 {
    line["seq"].as_u64().unwrap_or_else(|| panic!("a place in {line}"))
}

/// A fast sender of the protocol, beside the commands.
struct Sender {
    runtime: Runtime,
    client: Client,
}

impl Sender {
    fn new(server: &Server) -> Sender {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(join(&server.invite(&[]), "sender"));
        Sender { runtime, client }
    }

    /// Sends these numbers, and waits until all are durable.
    fn send(&self, room: &str, numbers: RangeInclusive<u64>) {
        let target: Target = room.parse().unwrap();
        self.runtime.block_on(async {
            let mut posts = JoinSet::new();
            for number in numbers {
                let (handle, post) = (self.client.handle(), Post::new(target.clone(), &number.to_string()));
                posts.spawn(async move { handle.post(post).await });
            }
            while let Some(sent) = posts.join_next().await {
                sent.unwrap().expect("it is durable");
            }
        });
    }
}

/// Checks what one run of a consumer printed against all that came before.
fn check_run(printed: &[Value], seen: &mut BTreeSet<u64>) {
    let seqs: Vec<u64> = printed.iter().map(seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "in order, without a hole: {seqs:?}");
    if let Some(first) = seqs.first() {
        let last = seen.last().copied().unwrap_or(0);
        assert!(*first <= last + 1, "{first} follows {last}: something was skipped");
    }
    seen.extend(seqs);
}

#[test]
fn a_consumer_killed_at_random_moments_skips_nothing() {
    const SEED: u64 = 20_261_121;
    let server = Server::with_config(FAST);
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let sender = Sender::new(&server);
    ann.run(&["send", "#general", "first"]).ok();
    let before = ann.run(&["export", "#general"]).ok().lines().count() as u64;
    let args = ["tail", "#general", "--consumer", "deploy", "--json", "--since", "0"];
    let follow = [&args[..], &["--follow"]].concat();
    let (mut random, mut seen) = (Random::new(SEED), BTreeSet::new());
    for round in 0..ROUNDS {
        let mut printed = Vec::new();
        let consumer = Running::start(&ann, &follow);
        let unseen = before + round * EACH_ROUND - seen.len() as u64;
        // Before, while and after the messages of this round come.
        let moment = random.below(usize::try_from(unseen + EACH_ROUND).unwrap() + 1);
        thread::scope(|scope| {
            scope.spawn(|| sender.send("#general", round * EACH_ROUND + 1..=(round + 1) * EACH_ROUND));
            printed.extend((0..moment).map(|_| consumer.next()));
            printed.extend(consumer.kill());
        });
        check_run(&printed, &mut seen);
    }
    let consumer = Running::start(&ann, &follow);
    let last = before + ROUNDS * EACH_ROUND;
    let mut printed = vec![consumer.next()];
    assert!(seq(&printed[0]) > 1, "what was read was told to the server (seed {SEED})");
    while printed.last().map(seq) != Some(last) {
        printed.push(consumer.next());
    }
    check_run(&printed, &mut seen);
    assert!(seen.iter().copied().eq(1..=last), "each was printed at least once (seed {SEED})");
    assert_eq!(consumer.stop(), Some(0));
    assert_eq!(ann.run(&args).ok(), "", "what was printed before SIGTERM counts as read");
}

#[test]
fn a_consumer_outlives_the_server_and_is_durable() {
    let mut server = Server::with_config(FAST);
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    ann.run(&["room", "create", "#ops", "--members", "bob"]).ok();
    let sender = Sender::new(&server);
    sender.runtime.block_on(async { sender.client.join("#ops").await.unwrap() });
    let args = ["tail", "#ops", "#general", "--consumer", "deploy", "--json"];
    assert_eq!(ann.run(&args).ok(), "", "a new consumer starts with what comes");
    let consumer = Running::start(&ann, &[&args[..], &["--follow"]].concat());
    let mut printed = Vec::new();
    for round in 0..3 {
        sender.send("#ops", round * 100 + 1..=(round + 1) * 100);
        printed.extend((0..100).map(|_| consumer.next()));
        server.kill();
        server.restart();
    }
    // It is connected again when this comes, and can say how far it read when it is told to end.
    sender.send("#ops", 301..=301);
    printed.push(consumer.next());
    let seqs: Vec<u64> = printed.iter().map(seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "each once, in order: {seqs:?}");
    assert_eq!(consumer.stop(), Some(0));
    server.kill();
    server.restart();
    assert_eq!(ann.run(&args).ok(), "", "it is where it was");
    ann.run(&["send", "#general", "one more"]).ok();
    let one: Value = serde_json::from_str(ann.run(&args).ok().trim()).unwrap();
    assert_eq!((one["room"].as_str(), one["text"].as_str()), (Some("#general"), Some("one more")));
    // Each account has its own, each name too.
    assert_eq!(bob.run(&args).ok(), "");
    let all = ["tail", "#ops", "--consumer", "other", "--since", "0", "--json"];
    assert_eq!(ann.run(&all).ok().lines().count() as u64, *seqs.last().unwrap());
    let listed = ann.run(&["consumer", "list"]).ok();
    assert!(listed.lines().count() == 3 && listed.contains("other"), "{listed}");
    ann.run(&["consumer", "remove", "other"]).ok();
    assert!(ann.run(&["consumer", "remove", "other", "#ops"]).fails(65).contains("quip consumer list"));
    let one: Value =
        serde_json::from_str(ann.run(&["consumer", "list", "--json"]).ok().lines().next().unwrap()).unwrap();
    assert_eq!((&one["type"], &one["name"]), (&Value::from("consumer"), &Value::from("deploy")));
    assert!(ann.run(&["tail", "#ops", "--consumer", "a b"]).fails(2).contains("a name has only"));
    assert!(server.stop());
    server.admin(&["check"]);
}

#[test]
fn a_bot_needs_no_files_and_no_terminal() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let token = ann.run(&["token", "new", "ci-bot"]).ok();
    let home = Quip::new();
    let bot = |args: &[&str]| {
        let mut command = home.command(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("QUIP_HOME", home.home());
        command.env("QUIP_SERVER", server.link.reveal()).env("QUIP_TOKEN", token.trim());
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let tail = ["tail", "#general", "--consumer", "bot", "--json"];
    assert_eq!(bot(&tail), (Some(0), String::new()));
    let stream = ["send", "--stream", "#general", "--status", "--", "sh", "-c", "echo built; exit 1"];
    assert_eq!(bot(&stream).0, Some(1));
    let (code, printed) = bot(&tail);
    assert!(code == Some(0) && printed.contains("built"), "{printed}");
    assert_eq!(bot(&tail), (Some(0), String::new()));
    let wait = ["wait", "#general", "--match", "exit 1 after", "--since", "0", "--timeout", "10s"];
    let (code, printed) = bot(&wait);
    assert!(code == Some(0) && printed.contains("<ci-bot> built"), "{printed}");
    assert_eq!(std::fs::read_dir(home.home()).unwrap().count(), 0, "a token needs no files");
}

/// The text of the newest event that says or changes one.
fn text_with(events: &Running, part: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    loop {
        seen.push(events.next());
        if seen.last().unwrap()["text"].as_str().is_some_and(|text| text.contains(part)) {
            return seen;
        }
    }
}

#[test]
fn a_long_input_is_one_message_that_grows() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["room", "create", "#ci"]).ok();
    let events = Running::start(&ann, &["tail", "#ci", "--follow", "--json", "--since", "1"]);
    let mut command = ann.command(&["send", "--stream", "#ci", "--json"]);
    let mut build = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = build.stdin.take().unwrap();
    let mut updates = Vec::new();
    for part in 0..4 {
        let lines: String = (0..100).map(|n| format!("compiling {part}.{n}\r\n")).collect();
        stdin.write_all(lines.as_bytes()).unwrap();
        updates.extend(text_with(&events, &format!("compiling {part}.99")));
    }
    server.kill();
    stdin.write_all(b"linking 1 %\rlinking 100 %\nwhile it was away \xff\n").unwrap();
    drop(stdin);
    server.restart();
    let status = eventually("the stream ends", || build.try_wait().unwrap());
    assert!(status.success(), "{status}");
    updates.extend(text_with(&events, "while it was away"));
    assert_eq!(updates[0]["type"], "message");
    assert!(
        updates[1..].iter().all(|update| update["type"] == "edit" && update["target"] == updates[0]["seq"])
    );
    let texts: Vec<&str> = updates.iter().map(|update| update["text"].as_str().unwrap()).collect();
    assert!(texts.windows(2).all(|pair| pair[1].len() > pair[0].len()), "it only grows");
    let mut receipt = String::new();
    build.stdout.take().unwrap().read_to_string(&mut receipt).unwrap();
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    let history = ann.run(&["history", "#ci", "--json"]).ok();
    let history: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&Value> = history.iter().filter(|event| event["type"] == "message").collect();
    assert_eq!(messages.len(), 1);
    assert_eq!((&messages[0]["seq"], &messages[0]["edited"]), (&receipt["seq"], &Value::Bool(true)));
    let mut expected: String =
        (0..4).flat_map(|part| (0..100).map(move |n| format!("compiling {part}.{n}\n"))).collect();
    expected += "linking 100 %\nwhile it was away \u{fffd}";
    assert_eq!(messages[0]["text"], expected);
}

#[test]
fn a_command_that_is_streamed_ends_with_its_own_code() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let newest = || {
        let line = ann
            .run(&["export", "#general"])
            .ok()
            .lines()
            .rfind(|l| l.contains("\"message\""))
            .map(str::to_owned);
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let page = ann.run(&["history", "#general", "-n", "1", "--json"]).ok();
        assert_eq!(
            page.lines().next().map(|l| serde_json::from_str::<Value>(l).unwrap()),
            Some(line.clone())
        );
        line["text"].as_str().unwrap().to_owned()
    };
    let script = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; echo oops >&2; exit 3";
    let stream = ["send", "--stream", "#general", "--status", "--", "sh", "-c"];
    let ran = ann.run(&[&stream[..], &[script]].concat());
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (3, "", ""), "{ran:?}");
    let text = newest();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "line 1");
    assert_eq!(lines[lines.len() - 3..lines.len() - 1], ["line 2000", "oops"]);
    assert!(lines[lines.len() - 1].starts_with("exit 3 after "), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.ends_with(" lines left out …")).count(), 1);
    assert!(text.len() <= 16 * 1024);
    ann.run(&[&stream[..], &["true"]].concat()).ok();
    assert!(newest().starts_with("exit 0 after "));
    let ran = ann.run(&[&stream[..], &["echo dying; kill -9 $$"]].concat());
    assert_eq!(ran.code, 137);
    assert!(newest().starts_with("dying\nkilled by signal 9 after "));
    // Mistakes, before anything is run or sent.
    assert!(ann.run(&["send", "--stream", "#general", "--status"]).fails(2).contains("-- COMMAND"));
    assert!(ann.run(&["send", "--stream", "#general", "make"]).fails(2).contains("behind --"));
    assert!(
        ann.run(&["send", "--stream", "#general", "--", "/nonexistent"]).fails(127).contains("cannot run")
    );
    assert!(ann.pipe(&["send", "--stream", "#general"], b"\n").fails(65).contains("empty"));
    ann.run(&["send", "#general", "--", "--dashes"]).ok();
    assert_eq!(newest(), "--dashes");
    // The colours of a build log are no text.
    let log = b"\x1b[01m\x1b[Kmain.c:1:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror:\x1b[m\x1b[K no\x1b[2J";
    for args in [&["send", "#general"][..], &["send", "--stream", "#general"]] {
        ann.pipe(args, log).ok();
        assert_eq!(newest(), "main.c:1: error: no␛[2J", "{args:?}");
    }
}

#[test]
fn a_stream_that_is_told_to_end() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let newest = || ann.run(&["history", "#general", "-n", "1"]).ok();
    let start = |args: &[&str]| {
        let mut command = ann.command(&[&["send", "--stream", "#general"], args].concat());
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let says = |part: &str| eventually(part, || newest().contains(part).then_some(()));
    let ended = |process: &mut Child| eventually("it ends", || process.try_wait().unwrap()).code();
    // The command is told too.
    let mut build = start(&["--status", "--", "sh", "-c", "echo building; exec sleep 600"]);
    says("building");
    terminate(&build);
    assert_eq!(ended(&mut build), Some(143));
    says("killed by signal 15 after ");
    let mut input = start(&[]);
    input.stdin.as_ref().unwrap().write_all(b"half a log\n").unwrap();
    says("half a log");
    terminate(&input);
    assert_eq!(ended(&mut input), Some(143));
    says("(interrupted)");
    // A server that stays away is waited for, but not against the user's will.
    let mut input = start(&[]);
    input.stdin.as_ref().unwrap().write_all(b"another log\n").unwrap();
    says("another log");
    server.kill();
    input.stdin.take().unwrap().write_all(b"that nobody will read\n").unwrap();
    let code = eventually("it gives up", || {
        terminate(&input);
        input.try_wait().unwrap()
    });
    assert_eq!(code.code(), Some(75));
    let mut said = String::new();
    input.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(
        said.lines().count() == 1 && said.contains("the end of the message to #general is not there"),
        "{said}"
    );
}

#[test]
fn waiting_for_a_message() {
    let mut server = Server::with_config(FAST);
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["send", "#general", "build 1 passed"]).ok();
    let spawn = |args: &[&str]| {
        let all = [&["wait", "#general", "--json", "--match", r"^build \d+ (passed|failed)$"], args].concat();
        Running::start(&ann, &all)
    };
    // Back to a place, and no further.
    let mut found = spawn(&["--since", "0"]);
    assert_eq!((&found.next()["text"], found.ended()), (&Value::from("build 1 passed"), Some(0)));
    // From now on: what was said before does not count.
    let mut now = spawn(&["--timeout", "30s"]);
    let mut number = 1;
    let code = eventually("it matches", || {
        number += 1;
        ann.run(&["send", "#general", &format!("build {number} failed")]).ok();
        now.process.try_wait().unwrap()
    });
    let matched = now.next();
    assert!(code.success() && matched["text"].as_str().unwrap().ends_with("failed"), "{matched}");
    // Over a server that is killed, and by an edit.
    let after = ann.run(&["export", "#general"]).ok().lines().count().to_string();
    let mut over = spawn(&["--since", &after]);
    ann.run(&["send", "#general", "build 77 is late"]).ok();
    server.kill();
    server.restart();
    let streamed = ann.pipe(&["send", "--stream", "#general"], b"build 78 passed\n");
    streamed.ok();
    assert_eq!((&over.next()["text"], over.ended()), (&Value::from("build 78 passed"), Some(0)));
    let nothing = ["wait", "#general", "--match", "never said", "--since", "0", "--timeout", "1s"];
    assert!(ann.run(&nothing).fails(124).contains("within 1 s"));
    assert!(ann.run(&["wait", "#general", "--match", "("]).fails(2).contains("regex"));
    assert!(ann.run(&["wait", "#nothing", "--match", "x"]).fails(77).contains("no room"));
}

//! Redis with TLS and passwords, and Sentinels with theirs: real ones. What is wrong is said in one line, without a secret.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use quip_protocol::client::Event;
use quip_server::log::redis::{Address, Connection, Listener};
use quip_server::log::shared::contract::{Answer, Ask};
use quip_tests::cluster::redis::{Fsync, Sentinel};
use quip_tests::cluster::{Node, Redis};
use quip_tests::{binary, eventually, join, port, within};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

const SECRET: &str = "hunter2";

/// An authority, and a certificate of it for one name, in files.
struct Certificates {
    dir: TempDir,
}

impl Certificates {
    fn of(name: &str) -> Certificates {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let certificates = Certificates { dir: tempfile::tempdir().unwrap() };
        for (file, pem) in
            [("ca", authority.pem()), ("cert", certificate.pem()), ("key", key.serialize_pem())]
        {
            std::fs::write(certificates.path(file), pem).unwrap();
        }
        certificates
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    /// The settings of a server that has this certificate.
    fn settings(&self, port: u16, clients: &str) -> Vec<(&'static str, String)> {
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", self.text("cert")),
            ("tls-key-file", self.text("key")),
            ("tls-ca-cert-file", self.text("ca")),
            ("tls-auth-clients", clients.to_owned()),
        ]
    }

    fn pem(&self) -> Vec<u8> {
        std::fs::read(self.path("ca")).unwrap()
    }
}

/// A Redis with TLS on a port of its own, and with a password unless that is empty; on its other port tests look at it.
fn redis(certificates: &Certificates, clients: &str, password: &str) -> (Redis, u16) {
    let port = port::free();
    let settings = certificates.settings(port, clients).into_iter();
    let settings: Vec<_> = settings.flat_map(|(name, value)| [format!("--{name}"), value]).collect();
    let redis = Redis::with(Fsync::Always, &settings.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(redis.cli(&["CONFIG", "SET", "requirepass", password]), "OK");
    (redis, port)
}

fn address(url: &str, trusted: Option<&Certificates>) -> Address {
    let address: Address = url.parse().unwrap();
    trusted.map_or(address.clone(), |of| address.trusting(&of.pem()).unwrap())
}

/// What is answered by somebody who can be waited for.
async fn asked(address: Address) -> Result<Answer, String> {
    let mut connection = Connection::new(address);
    connection.ask(&Ask::Look).await.map_err(|lost| lost.0)
}

/// The same, and again while the machine is too slow for an answer, or for this error.
async fn asked_in_time(address: Address, expected: &str) -> Result<Answer, String> {
    let is_late = |why: &String| !why.contains(expected) && why.contains(" within ");
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
    let asking = async {
        loop {
            let answer = asked(address.clone()).await;
            if !answer.as_ref().is_err_and(is_late) {
                return answer;
            }
            pause.tick().await;
        }
    };
    within("an answer in time", asking).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_a_redis_with_tls_and_say_nothing_beside_it() {
    let certificates = Certificates::of("127.0.0.1");
    let (mut redis, port) = redis(&certificates, "no", "");
    let (folder, ca) = (tempfile::tempdir().unwrap(), certificates.text("ca"));
    let key = folder.path().join("key");
    let mut nodes = ["a", "b"].map(|name| {
        let mut node = Node::new(folder.path(), name, &format!("rediss://127.0.0.1:{port}"), &key);
        node.arguments.extend(["--redis-ca".to_owned(), ca.clone()]);
        node
    });
    nodes[0].started();
    let owner = nodes[0].owner();
    nodes[1].started();
    let (mut ann, bob) = (join(&owner, "ann").await, join(&nodes[1].invite(1), "bob").await);
    let room = within("ann joins", ann.join("#general")).await.unwrap();
    within("bob joins", bob.join("#general")).await.unwrap();
    within("a receipt", bob.send(&room, "before")).await.unwrap();
    text(&mut ann, "before").await;
    for node in &nodes {
        // What is heard beside the log, too.
        eventually("it hears the others", || node.log().contains("hearing the other nodes").then_some(()));
    }
    let clients = redis.cli(&["CLIENT", "LIST"]);
    let elsewhere: Vec<_> = clients
        .lines()
        .filter(|client| {
            !client.contains(&format!("laddr=127.0.0.1:{port} ")) && !client.contains("cmd=client")
        })
        .collect();
    assert_eq!(elsewhere, [""; 0]);
    assert!(clients.lines().count() >= 8, "two nodes' lanes, heartbeats and channels: {clients}");

    redis.restart();
    within("a receipt", bob.send(&room, "after")).await.unwrap();
    text(&mut ann, "after").await;
}

async fn text(client: &mut quip_protocol::client::Client, expected: &str) {
    loop {
        let event = within("a message", client.next()).await.unwrap().unwrap();
        if matches!(&event, Event::Message(message) if message.text() == expected) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_redis_is_said_in_one_line_with_what_to_do() {
    let (right, other) = (Certificates::of("127.0.0.1"), Certificates::of("r.example"));
    let (open, open_port) = redis(&right, "no", "");
    let (_guarded, guarded) = redis(&right, "no", SECRET);
    let (_named, named) = redis(&other, "no", "");
    let (_mutual, mutual) = redis(&right, "yes", "");
    let plain = open.port();
    let table = [
        (format!("rediss://127.0.0.1:{open_port}"), Some(&right), Ok(())),
        (format!("rediss://:{SECRET}@127.0.0.1:{guarded}"), Some(&right), Ok(())),
        (format!("rediss://127.0.0.1:{guarded}"), Some(&right), Err("its password is missing")),
        (format!("rediss://:{SECRET}x@127.0.0.1:{guarded}"), Some(&right), Err("the user or the password")),
        (format!("rediss://127.0.0.1:{open_port}"), Some(&other), Err("--redis-ca")),
        (format!("rediss://127.0.0.1:{open_port}"), None, Err("--redis-ca")),
        (format!("rediss://127.0.0.1:{named}"), Some(&other), Err("name Redis as its certificate does")),
        (format!("rediss://127.0.0.1:{mutual}"), Some(&right), Err("tls-auth-clients no")),
        (format!("rediss://127.0.0.1:{plain}"), Some(&right), Err("say redis:// instead of rediss://")),
        (format!("redis://127.0.0.1:{open_port}"), None, Err("say rediss:// instead of redis://")),
    ];
    for (url, trusted, expected) in table {
        let shown = address(&url, trusted);
        assert!(!format!("{shown} {shown:?}").contains(SECRET), "{shown}");
        let heard = Listener::new(&address(&url, trusted), &["c"]).await.map(drop).map_err(|lost| lost.0);
        let asked = asked_in_time(shown.clone(), expected.err().unwrap_or("nothing")).await;
        for said in [asked.map(drop), heard] {
            match (expected, said) {
                (Ok(()), said) => assert_eq!(said, Ok(()), "{shown}"),
                (Err(what), said) => says(&said.expect_err(what), what),
            }
        }
    }
}

/// One line that says this, and no secret.
fn says(text: &str, what: &str) {
    assert!(text.contains(what), "{text} does not say {what:?}");
    assert!(text.trim_end().lines().count() == 1 && !text.contains(SECRET), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_have_passwords_of_their_own_and_tls() {
    let certificates = Certificates::of("127.0.0.1");
    let (_redis, port) = redis(&certificates, "no", "of-redis");
    let encrypted = port::free();
    let settings = certificates.settings(encrypted, "no").into_iter();
    let settings: String = settings.map(|(name, value)| format!("{name} {value}\n")).collect();
    // `get-master-addr-by-name` is all that it is asked.
    let acl = format!("user asks on >{SECRET} -@all +auth +sentinel|get-master-addr-by-name");
    let sentinel = Sentinel::with(
        port,
        &format!(
            "{settings}tls-replication yes\nsentinel auth-pass shared of-redis\nrequirepass {SECRET}\n{acl}\n"
        ),
    );
    let hosts = format!("127.0.0.1:1,127.0.0.1:{encrypted}");
    let url = |of_redis: &str, query: &str| format!("rediss+sentinel://:{of_redis}@{hosts}/shared{query}");
    let right =
        [format!("?sentinel_password={SECRET}"), format!("?sentinel_user=asks&sentinel_password={SECRET}")];
    for query in &right {
        let address = address(&url("of-redis", query), Some(&certificates));
        assert!(!format!("{address} {address:?}").contains(SECRET), "{address}");
        // It has just been started.
        let mut failed = String::new();
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
        let answering = async {
            while let Err(why) = asked(address.clone()).await {
                failed = why;
                pause.tick().await;
            }
        };
        assert!(tokio::time::timeout(quip_tests::poll::DEADLINE, answering).await.is_ok(), "{failed}");
    }
    let wrong = [
        (url("of-redis", ""), "for a Sentinel ?sentinel_password="),
        (url("of-redis", &format!("?sentinel_password={SECRET}x")), "the user or the password"),
        (
            url("of-redis", &format!("?sentinel_user=no&sentinel_password={SECRET}")),
            "the user or the password",
        ),
        (url(SECRET, &right[0]), "the user or the password"),
        (
            format!("redis+sentinel://:of-redis@127.0.0.1:{encrypted}/shared{}", right[0]),
            "say rediss:// instead of redis://",
        ),
    ];
    for (url, what) in wrong {
        let trusted = url.starts_with("rediss").then_some(&certificates);
        says(&asked_in_time(address(&url, trusted), what).await.unwrap_err(), what);
    }
    drop(sentinel);
}

/// The Sentinel is on this machine, and what it names is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_in_the_open_is_not_spoken_to_whoever_names_it() {
    // Nobody has that address (RFC 5737).
    let sentinel = Sentinel::with(1, "sentinel monitor away 192.0.2.1 6379 1");
    let url = |scheme: &str| format!("{scheme}://:{SECRET}@127.0.0.1:{}/away", sentinel.port());
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
    let refused = async {
        loop {
            let why = asked(address(&url("redis+sentinel"), None)).await.unwrap_err();
            // It has just been started.
            if !why.contains("no Sentinel names") {
                return why;
            }
            pause.tick().await;
        }
    };
    let refused = within("it is refused", refused).await;
    says(&refused, "the master away is 192.0.2.1:6379, and that is another machine");
    says(&refused, "--redis-insecure");
    let heard = Listener::new(&address(&url("redis+sentinel"), None), &["c"]).await.map(drop);
    says(&heard.unwrap_err().0, "--redis-insecure");
    // Tried, where it is said that it may be.
    let allowed = asked(address(&url("redis+sentinel"), None).allowed_in_the_open()).await.unwrap_err();
    assert!(!allowed.contains("--redis-insecure"), "{allowed}");
}

fn quipd(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary("quipd"));
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// By the authorities of the system; and a password is in nothing that is logged, at any level.
#[test]
fn a_node_trusts_whom_the_system_trusts_and_logs_no_password() {
    let certificates = Certificates::of("127.0.0.1");
    let (_redis, port) = redis(&certificates, "no", SECRET);
    let data = tempfile::tempdir().unwrap();
    let (path, log) = (data.path().join("data"), data.path().join("log"));
    let url = |password: &str| format!("rediss://:{password}@127.0.0.1:{port}");
    for (password, wanted) in [(SECRET, "serving"), ("Hunter2", "the user or the password")] {
        let arguments = ["--listen", "127.0.0.1:0", "--node", "a", "--advertise", "127.0.0.1:7"];
        let redis = ("QUIPD_REDIS", &*url(password));
        let trusted = ("SSL_CERT_FILE", &*certificates.text("ca"));
        let mut command = quipd(&arguments, &[redis, trusted, ("QUIPD_LOG", "trace")]);
        command.arg("--data-dir").arg(&path).stdout(Stdio::null());
        let mut node = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let logged = || std::fs::read_to_string(&log).unwrap();
        eventually("it says so", || logged().contains(wanted).then_some(()));
        node.kill().unwrap();
        node.wait().unwrap();
        assert!(!logged().contains(password), "{}", logged());
    }
}

#[test]
fn no_usage_error_repeats_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quipd.toml");
    let url = format!("redis://:{SECRET}@127.0.0.1:x");
    let help = printed(&quipd(&["serve", "--help"], &[("QUIPD_REDIS", &url)]).output().unwrap());
    assert!(help.contains("QUIPD_REDIS") && !help.contains(SECRET), "{help}");
    let place = ["--node", "a", "--advertise", "a:1"];
    let malformed = quipd(&place, &[("QUIPD_REDIS", &url)]).output().unwrap();
    says(&printed(&malformed), "not an address of Redis");
    let unfit = [
        format!("redis = \"{url}"),
        format!("redis = {url}"),
        format!("redis: {url}?sentinel_password={SECRET}"),
        format!("rediss = \"{url}\""),
        format!("sentinel_password = \"{SECRET}\""),
        format!("redis_log_mib = \"{url}\""),
    ];
    for line in unfit {
        std::fs::write(&file, line).unwrap();
        let refused = quipd(&["--config", file.to_str().unwrap()], &[]).output().unwrap();
        says(&printed(&refused), "line 1");
    }
    let certificates = Certificates::of("a");
    for redis in ["redis://a", "redis://:secret@a", "rediss://a"] {
        let refused = quipd(&["--redis", redis, "--node", "a", "--advertise", "a:1"], &[]).output().unwrap();
        says(&printed(&refused), "say --redis-insecure");
        assert_eq!(refused.status.code(), Some(2), "{redis}");
    }
    let table = [
        ("rediss://a", PathBuf::from("/nowhere/ca.pem"), "/nowhere/ca.pem: No such file"),
        ("rediss://a", file, "no certificate in PEM"),
        ("redis://a", certificates.path("ca"), "certificates are for TLS"),
    ];
    for (redis, ca, what) in table {
        let mut named = quipd(&["--redis", redis, "--node", "a", "--advertise", "a:1"], &[]);
        says(&printed(&named.arg("--redis-ca").arg(ca).output().unwrap()), what);
    }
}

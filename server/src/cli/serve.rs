//! `quipd serve`.

use std::path::{Path, PathBuf};
use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use quip_protocol::NodeName;
use quip_storage::data_dir::holder_of;

use crate::cluster::join::JoinError;
use crate::config::{ClusterConfig, Config, FileConfig};
use crate::log::redis::Address;
use crate::pipeline::open::OpenError;
use crate::pipeline::stopping::Stopping;
use crate::session::socket;
use crate::start::{Running, StartError, start};

use super::{FAILED, Failure, LogFormat, PlaceArgs, ServeArgs, USAGE, print};

pub fn run(args: &ServeArgs, place: &PlaceArgs) -> Result<(), Failure> {
    let config = merge(args, place)?;
    logging(args.log_format);
    let runtime =
        tokio::runtime::Runtime::new().map_err(|e| Failure::new(FAILED, format!("cannot start: {e}")))?;
    runtime.block_on(serve(args, place, config))
}

/// Flag (or environment), then file.
pub fn merge(args: &ServeArgs, place: &PlaceArgs) -> Result<Config, Failure> {
    let file = place.file()?;
    let data_dir = place.data_dir(&file)?;
    let cluster = cluster(args, &file, &data_dir)?;
    let listen = if args.listen.is_empty() { file.listen } else { args.listen.clone() };
    if listen.is_empty() {
        return Err(Failure::new(USAGE, "no address to listen on: say one with --listen ADDR"));
    }
    let certificate = match (args.cert.clone().or(file.cert), args.key.clone().or(file.key)) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(Failure::new(USAGE, "a certificate needs its key: give both cert and key")),
    };
    Ok(Config {
        cluster,
        leave_cluster: args.leave_cluster,
        listen,
        data_dir,
        certificate,
        registration: args.registration.unwrap_or(file.registration),
        name: args.name.clone().unwrap_or(file.name),
        public_host: args.public_host.clone().or(file.public_host),
        http: args.http.or(file.http),
        limits: file.limits,
        cache_bytes: file.cache_mib.saturating_mul(1024 * 1024),
        disk_reserve: file.disk_reserve_mib.saturating_mul(1024 * 1024),
    })
}

/// Of which cluster it is a node: every part of that, or none.
fn cluster(args: &ServeArgs, file: &FileConfig, data_dir: &Path) -> Result<Option<ClusterConfig>, Failure> {
    let usage = |why: String| Failure::new(USAGE, why);
    let (node, advertise) =
        (args.node.as_ref().or(file.node.as_ref()), args.advertise.as_ref().or(file.advertise.as_ref()));
    let Some(redis) = args.redis.as_ref().or(file.redis.as_ref()).filter(|_| !args.leave_cluster) else {
        return match node.is_some() || advertise.is_some() {
            true if !args.leave_cluster => {
                Err(usage("--node and --advertise are for a cluster: name its Redis with --redis URL".into()))
            }
            _ => Ok(None),
        };
    };
    let redis: Address = redis.parse().map_err(|e| usage(format!("--redis: {e}")))?;
    let redis = trusting(redis, args.redis_ca.as_ref().or(file.redis_ca.as_ref()))?;
    let redis = match args.redis_insecure || file.redis_insecure {
        true => redis.allowed_in_the_open(),
        false if redis.is_in_the_open() => {
            return Err(usage(format!(
                "{redis} is another machine: use {}, or, in a network that nobody else is in, say --redis-insecure",
                redis.unguarded()
            )));
        }
        false => redis,
    };
    let node = node
        .cloned()
        .or_else(host_name)
        .ok_or_else(|| usage("the host's name is no name for a node: say one with --node NAME".into()))?;
    let advertise = advertise.cloned().ok_or_else(|| {
        usage(
            "--redis needs --advertise ADDR: where clients and the other servers find this one, as host:port"
                .into(),
        )
    })?;
    if !is_address(&advertise) {
        return Err(usage(format!(
            "--advertise {advertise:?} cannot be: say host:port, such as a.example.org:7847"
        )));
    }
    let key = args.cluster_key.clone().or_else(|| file.cluster_key.clone());
    Ok(Some(ClusterConfig {
        redis,
        node,
        advertise,
        key: key.unwrap_or_else(|| data_dir.join("cluster.key")),
        founds: args.found_cluster,
        log_bytes: file.redis_log_mib.saturating_mul(1024 * 1024),
    }))
}

fn trusting(redis: Address, ca: Option<&PathBuf>) -> Result<Address, Failure> {
    let Some(ca) = ca else { return Ok(redis) };
    let wrong = |why: String| Failure::new(USAGE, format!("--redis-ca {}: {why}", ca.display()));
    let pem = std::fs::read(ca).map_err(|e| wrong(e.to_string()))?;
    redis.trusting(&pem).map_err(|e| wrong(e.to_string()))
}

/// The first part of the host's name, if nodes can be called that.
fn host_name() -> Option<NodeName> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_lowercase();
    host.split('.').next()?.parse().ok()
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0))
}

fn logging(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("QUIPD_LOG").unwrap_or_else(|_| EnvFilter::new("info,quinn=warn,sled=warn"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Serves until it is told to stop. A node that has parted from its cluster starts again, on the same addresses: that puts it
/// right.
async fn serve(args: &ServeArgs, place: &PlaceArgs, mut config: Config) -> Result<(), Failure> {
    let mut signals =
        Signals::new().map_err(|e| Failure::new(FAILED, format!("cannot listen for signals: {e}")))?;
    try_addresses(&config).map_err(|e| Failure::new(FAILED, e))?;
    let mut is_first = true;
    loop {
        let Some(mut running) = start_or_stop(config.clone(), &mut signals.stop).await? else {
            return Ok(());
        };
        if std::mem::take(&mut is_first) {
            announce(&running)?;
        }
        config.listen.clone_from(&running.addresses);
        let goes_on = run_on(args, place, &mut running, &mut signals).await;
        running.stop().await;
        if !goes_on? {
            return Ok(());
        }
        warn!("starting again, to get what the cluster has and this node has not");
    }
}

/// Whether it can listen where it is told to, before anything is waited for. A directory that another process has says more.
fn try_addresses(config: &Config) -> Result<(), StartError> {
    if holder_of(&config.data_dir).is_some() {
        return Ok(());
    }
    let listen = |address| move |source| StartError::Listen { address, source };
    for address in config.listen.iter().copied() {
        socket::try_out(address).map_err(listen(address))?;
    }
    match config.http {
        Some(address) => std::net::TcpListener::bind(address).map(drop).map_err(listen(address)),
        None => Ok(()),
    }
}

/// Serves until it is told to stop, or is to be started again; which of these.
async fn run_on(
    args: &ServeArgs,
    place: &PlaceArgs,
    running: &mut Running,
    signals: &mut Signals,
) -> Result<bool, Failure> {
    loop {
        tokio::select! {
            () = signals.stop.told() => return Ok(false),
            _ = signals.hangup.recv() => {}
            parted = running.parted() => return parted.map(|()| true).map_err(|e| Failure::new(FAILED, e)),
        }
        reload(args, place, running);
    }
}

fn announce(running: &Running) -> Result<(), Failure> {
    print(&format!("ready {}\n", running.link().reveal()))?;
    match running.owner_link() {
        Some(link) => print(&format!("owner {}\n", link.reveal())),
        None => Ok(()),
    }
}

/// The signals that are listened for, from before the start.
struct Signals {
    stop: StopSignals,
    hangup: Signal,
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Signals { stop: StopSignals { terminate, interrupt }, hangup: signal(SignalKind::hangup())? })
    }
}

impl StopSignals {
    /// Waits until the process is told to stop.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        info!("stopping");
    }
}

/// Starts a server; nothing if it was told to stop meanwhile.
async fn start_or_stop(config: Config, signals: &mut StopSignals) -> Result<Option<Running>, Failure> {
    let stopping = Stopping::default();
    let mut starting = pin!(start(config, &stopping));
    let started = tokio::select! {
        started = &mut starting => started,
        () = signals.told() => {
            stopping.begin();
            starting.await
        }
    };
    match started {
        Ok(running) if stopping.has_begun() => {
            running.stop().await;
            Ok(None)
        }
        Ok(running) => Ok(Some(running)),
        Err(StartError::Open(OpenError::Stopped) | StartError::Join(JoinError::Open(OpenError::Stopped))) => {
            Ok(None)
        }
        Err(StartError::Config(e)) => Err(Failure::new(USAGE, format!("{e}; see quipd default-config"))),
        Err(e) => Err(Failure::new(FAILED, e)),
    }
}

/// SIGHUP: certificate, limits and the disk's reserve are read again. What cannot be read leaves everything as it is.
fn reload(args: &ServeArgs, place: &PlaceArgs, running: &Running) {
    let config = match merge(args, place) {
        Ok(config) => config,
        Err(failure) => return warn!(why = failure.text, "nothing was reloaded, all is as it was"),
    };
    match running.reload(&config) {
        Ok(()) => info!("reloaded certificate and limits"),
        Err(e) => warn!(why = %e, "nothing was reloaded, all is as it was"),
    }
}

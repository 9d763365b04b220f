//! `quipd serve`.

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
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

async fn serve(args: &ServeArgs, place: &PlaceArgs, config: Config) -> Result<(), Failure> {
    let running = start(config).await.map_err(|e| match e {
        StartError::Config(e) => Failure::new(USAGE, format!("{e}; see quipd default-config")),
        e => Failure::new(FAILED, e),
    })?;
    print(&format!("ready {}\n", running.link().reveal()))?;
    if let Some(link) = running.owner_link() {
        print(&format!("owner {}\n", link.reveal()))?;
    }
    let served = tokio::select! {
        stopped = until_stopped(args, place, &running) =>
            stopped.map_err(|e| Failure::new(FAILED, format!("cannot listen for signals: {e}"))),
        () = running.died() => Err(Failure::new(FAILED, "a part of the server panicked, see the log; start it again: nothing acknowledged is lost")),
    };
    running.stop().await;
    served
}

async fn until_stopped(args: &ServeArgs, place: &PlaceArgs, running: &Running) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(args, place, running),
        }
    }
    info!("stopping");
    Ok(())
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

//! Metrics and health over HTTP, for whoever collects them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::node::Node;

/// Takes the address, and serves nothing yet.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    info!(address = %listener.local_addr()?, "metrics and health");
    Ok(listener)
}

/// Serves `/metrics`, `/healthz` and `/readyz` until told to stop.
pub fn serve(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    node: Arc<Node>,
    mut stop: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(node);
    tasks.spawn(async move {
        let stopped = async move {
            // An error means that the server is gone, which is a stop too.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(e) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            error!(error = %e, "metrics and health are no longer served");
        }
    });
}

async fn metrics(State(node): State<Arc<Node>>) -> String {
    let counters = node.cluster.as_ref().map(|cluster| cluster.counts.all().to_vec()).unwrap_or_default();
    let gauges = [node.gauges().to_vec(), node.shared_gauges()].concat();
    node.metrics.render(&counters, &gauges)
}

async fn ready(State(node): State<Arc<Node>>) -> (StatusCode, &'static str) {
    if node.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded: reading only\n")
    }
}

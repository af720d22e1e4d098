//! An axum server whose events, of all its threads, go into a file that rotates.
//!
//! `cd tools/tracing/server; cargo run --example service`; then `curl localhost:3000/you`.

use std::time::Duration;

use axum::extract::Path;
use axum::{Router, routing::get};
use linering::RotatingFile;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = RotatingFile::open("service.log", 10_000_000, 9)?;
    let (writer, guard) = tracing_linering::non_blocking(file)?;
    tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();

    let router = Router::new().route("/{name}", get(greet));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let stopped = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, router).with_graceful_shutdown(stopped).await?;
    guard.stop(Duration::from_secs(5))?;
    Ok(())
}

async fn greet(Path(name): Path<String>) -> String {
    tracing::info!(%name, "greeted");
    format!("Hello, {name}!\n")
}

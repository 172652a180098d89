//! A broker by itself: `cargo run --example serve -- DIR PORT`. Ends cleanly at Ctrl-C.
#![allow(clippy::print_stderr)]

use std::error::Error;

use hirewire_broker::{Broker, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve DIR PORT".into());
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    let broker = tokio::task::spawn_blocking(|| Broker::open(Settings::new(dir))).await??;
    eprintln!("{}", listener.local_addr()?);
    let interrupted = async {
        // Without a handler for signals there is no clean end, but there is service.
        tokio::signal::ctrl_c().await.ok();
    };
    broker.run(listener, interrupted).await?;
    Ok(())
}

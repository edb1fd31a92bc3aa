//! Pulls one image into a folder, and says how long it took and how much memory: for measuring without a server.
//!
//!     cargo run --release -p belljar-images --example pull -- localhost:5000/image:tag FOLDER
#![allow(clippy::expect_used, reason = "a tool says what it expected and ends")]

use std::time::Instant;

use belljar_images::Images;
use belljar_images::config::host_platform;
use belljar_images::registry::{Client, Proxies, Settings, Snapshot, Wanted};
use tokio::sync::watch;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let reference = arguments.next().expect("a reference").parse().expect("a reference");
    let images = Images::open(arguments.next().expect("a folder")).expect("a folder that can be written");
    let client = Client::new(images, Settings { proxies: Proxies::from_environment(), ..Settings::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let begun = Instant::now();
    let wanted = Wanted { reference, platform: host_platform(), credentials: None };
    let pulled = runtime.block_on(client.pull(&wanted, &watch::Sender::new(Snapshot::default())));
    match pulled {
        Ok(pulled) => println!("{} with {} layers in {:?}", pulled.manifest_digest, pulled.contents.layers.len(), begun.elapsed()),
        Err(error) => {
            let mut said = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                said = format!("{said}: {cause}");
                source = cause.source();
            }
            println!("{said} (after {:?})", begun.elapsed());
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("what the kernel says of this process");
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}

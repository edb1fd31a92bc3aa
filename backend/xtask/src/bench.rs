//! `cargo xtask bench`: how long a start takes, how much memory it costs, and how heavy the list page is; beside other
//! runtimes where they are installed, in the same run and with the same root file system. Everything is printed with its
//! target and the ratio to it; nothing is asserted, because a figure belongs to a machine.

mod history;
mod memory;
mod overlay;
mod pages;
mod peers;
mod pull;
mod rootfs;
mod runtime;
mod shell;
mod starts;
mod table;
mod usage;

use std::error::Error;
use std::process::ExitCode;

use belljar_testbed::Server;
use serde_json::json;

use crate::repository;
use crate::{command, dist};
use table::Table;

/// How much is measured.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    subject: Option<Subject>,
    /// Starts per row.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    starts: u32,
    /// Containers that run meanwhile in the second half.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    others: u32,
    /// Containers on the list page.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    listed: u32,
}

/// What is measured instead of the server.
#[derive(Debug, clap::Subcommand)]
enum Subject {
    /// The OCI runtime beside crun, runc, bubblewrap, and the least that a container can be.
    Runtime(runtime::Options),
    /// Measuring containers once a second, and the answer to what one uses, beside Docker.
    Usage(usage::Options),
    /// A simulated month of usage: the size of the database, writes and questions.
    History(history::Options),
    /// What a container changed, and a folder over many layers.
    Overlay(overlay::Options),
    /// Pulling an image from a registry on loopback, beside podman and Docker.
    Pull(pull::Options),
}

/// Builds the release executable, linked as it is shipped, measures, and prints the table.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    // These make no containers, and need nothing of the executable.
    match &options.subject {
        Some(Subject::History(options)) => return history::run(options),
        Some(Subject::Overlay(options)) => return overlay::run(options),
        _ => {}
    }
    if !command::is_root() {
        return Err("only root may make containers: run cargo xtask bench as root".into());
    }
    dist::build("release")?;
    match &options.subject {
        Some(Subject::Runtime(options)) => return runtime::run(options),
        Some(Subject::Usage(options)) => return usage::run(options),
        Some(Subject::Pull(options)) => return pull::run(options),
        Some(Subject::History(_) | Subject::Overlay(_)) | None => {}
    }
    let server = Server::start(repository::root().join("target/release/belljar"));
    let mut table = Table::default();
    memory::server(&mut table, &server, "server, idle");

    let mut bench = starts::Bench::prepare(&server)?;
    starts::measure(&mut table, &mut bench, options.starts, "alone")?;
    for number in 0..options.others {
        server.create(&json!({"image": "host", "name": format!("other-{number}"), "command": ["sleep", "1d"]}));
    }
    memory::server(&mut table, &server, &format!("server, {} running", options.others));
    memory::monitors(&mut table, &server);
    starts::measure(&mut table, &mut bench, options.starts, &format!("{} others", options.others))?;

    pages::measure(&mut table, &server, options.listed);
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

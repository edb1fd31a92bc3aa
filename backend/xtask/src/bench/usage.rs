//! `cargo xtask bench usage`: what it costs to measure containers once a second, and how long it takes to be told what one uses;
//! beside Docker, where a daemon of it answers. Nothing is asserted.
//!
//! The server's processor time is all of it: readings, what is remembered and judged of them, and telling a listener. The
//! sampler alone is an example of the runtime (`backend/runtime/examples/usage.rs`), on a folder tree and on empty cgroups.

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use belljar_testbed::{Server, process};
use serde_json::json;

use super::rootfs;
use super::table::{Spread, Table};
use crate::command::{self, cargo, command, find, output};
use crate::repository;

/// What measuring once a second may take of one processor, in percent: the containers of a server, and the simulated ones.
const PERCENT_TARGETS: (f64, f64) = (2.0, 8.0);
/// What an answer may take, in milliseconds.
const ANSWER_TARGET_MS: f64 = 1.0;
/// How often Docker is asked, which takes a second or two each time.
const DOCKER_QUESTIONS: usize = 5;
/// Docker's socket.
const DOCKER: &str = "/var/run/docker.sock";

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Containers that run.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    containers: u32,
    /// Containers that are simulated.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4096))]
    simulated: u32,
    /// Seconds per row.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=600))]
    seconds: u32,
    /// Questions per row.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    questions: u32,
}

/// Measures, and prints the table. The release executable is built.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    command::run(&mut cargo(&["build", "--package", "belljar-runtime", "--example", "usage", "--release", "--locked"]))?;
    let mut table = Table::default();
    alone(&mut table, options)?;
    let server = Server::start(repository::root().join("target/release/belljar"));
    for number in 0..options.containers {
        server.create(&json!({"image": "host", "name": format!("measured-{number}"), "command": ["sleep", "1d"]}));
    }
    let what = format!("server, {} containers", options.containers);
    let quiet = percent(server.pid(), options.seconds)?;
    table.row(&format!("{what}, nobody looks"), format!("{quiet:6.2} % of a processor"), String::new());
    let listener = ask(&server.socket(), "/api/v1/events?follow=true")?;
    let watched = percent(server.pid(), options.seconds)?;
    share(&mut table, &format!("{what}, once a second"), watched, PERCENT_TARGETS.0);
    answers(&mut table, &server, options, "once a second")?;
    drop(listener);
    docker(&mut table)?;
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// The sampler without a server around it.
fn alone(table: &mut Table, options: &Options) -> Result<(), Box<dyn Error>> {
    let example = repository::root().join("target/release/examples/usage");
    for (kind, what, count, target) in [
        ("tree", "a folder tree", options.simulated, PERCENT_TARGETS.1),
        ("kernel", "empty cgroups", options.simulated, PERCENT_TARGETS.1),
        ("kernel", "empty cgroups", options.containers, PERCENT_TARGETS.0),
    ] {
        let said = output(&mut command(&example.to_string_lossy(), &[kind, &count.to_string(), &options.seconds.to_string()]))?;
        let figures: Vec<u64> = said.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [all_usec, _, left] = figures.as_slice() else { return Err(format!("the example said {said:?}").into()) };
        let percent = *all_usec as f64 / f64::from(options.seconds) / 1e4;
        share(table, &format!("sampler alone, {count} of {what}, {left} descriptors left"), percent, target);
    }
    Ok(())
}

fn share(table: &mut Table, what: &str, percent: f64, target: f64) {
    table.row(what, format!("{percent:6.2} % of a processor"), format!("{:.2} of the target {target} %", percent / target));
}

/// Share of one processor that a process takes for so many seconds, from now on.
fn percent(pid: i32, seconds: u32) -> Result<f64, Box<dyn Error>> {
    let used = || process::processor_time(pid).ok_or("the process is gone");
    let before = used()?;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(u64::from(seconds)));
    Ok((used()? - before).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0)
}

/// How long it takes from the connection to the end of the answer.
fn answers(table: &mut Table, server: &Server, options: &Options, when: &str) -> Result<(), Box<dyn Error>> {
    let socket = server.socket();
    let one = |number: u32| {
        let path = format!("/api/v1/containers/measured-{}/usage", number % options.containers);
        timed(|| answer(&socket, &path))
    };
    let times = (0..options.questions).map(one).collect::<Result<_, _>>()?;
    let what = format!("GET usage, {} containers, {when}", options.containers);
    table.time(&what, Spread::of(times), ANSWER_TARGET_MS);
    Ok(())
}

fn timed<T>(what: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    what()?;
    Ok(begun.elapsed())
}

/// Sends a request over a connection of its own, which the server closes after the answer.
fn ask(socket: &Path, path: &str) -> Result<UnixStream, Box<dyn Error>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok(stream)
}

fn answer(socket: &Path, path: &str) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    ask(socket, path)?.read_to_string(&mut text)?;
    if text.starts_with("HTTP/1.1 200 ") { Ok(text) } else { Err(format!("{path}: {}", text.lines().next().unwrap_or_default()).into()) }
}

/// The same of Docker: by its command, and by its API both ways.
fn docker(table: &mut Table) -> Result<(), Box<dyn Error>> {
    if find("docker").is_none() || answer(Path::new(DOCKER), "/version").is_err() {
        println!("not compared: no dockerd answers at {DOCKER}");
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("belljar-bench-").tempdir_in("/var/tmp")?;
    let archive = rootfs::pack(&rootfs::make(folder.path())?, folder.path())?;
    let name = format!("belljar-bench-{}", std::process::id());
    output(&mut command("docker", &["import", &archive.to_string_lossy(), &name]))?;
    let run = output(&mut command("docker", &["run", "--detach", "--network", "none", "--name", &name, &name, "/bin/sleep", "1d"]));
    let measured = run.map_err(Box::from).and_then(|_| docker_answers(table, &name));
    let _gone = output(&mut command("docker", &["rm", "--force", &name]));
    let _gone = output(&mut command("docker", &["rmi", "--force", &name]));
    measured
}

fn docker_answers(table: &mut Table, name: &str) -> Result<(), Box<dyn Error>> {
    let api = |query: &str| {
        let path = format!("/containers/{name}/stats?{query}");
        (0..DOCKER_QUESTIONS).map(|_| timed(|| answer(Path::new(DOCKER), &path))).collect::<Result<_, _>>().map(Spread::of)
    };
    let by_command = || timed(|| Ok(output(&mut command("docker", &["stats", "--no-stream", name]))?));
    let command: Vec<Duration> = (0..DOCKER_QUESTIONS).map(|_| by_command()).collect::<Result<_, _>>()?;
    table.spread("docker stats --no-stream", Spread::of(command), String::new());
    table.spread("Docker's API, stream=false", api("stream=false")?, String::new());
    table.spread("Docker's API, one-shot", api("stream=false&one-shot=true")?, String::new());
    Ok(())
}

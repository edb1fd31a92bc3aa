//! `cargo xtask bench pull`: how long it takes from the command to an image that is ready to run, cold, from a registry on
//! loopback; beside podman, Docker and `gzip -dc`, where they are installed, in the same run and turn by turn. The blobs
//! are in the page cache for all alike, and what was written before is on the disk before the next one begins.
//!
//! Nothing is deleted before all is measured: for five minutes ext4 looks at each inode that was freed before it gives one out
//! (`recently_deleted` in `fs/ext4/ialloc.c`), so that whoever comes after a deletion of thousands of files would be measured with it.

mod content;
mod engines;

use std::error::Error;
use std::fs::File;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use belljar_testbed::registry::{Access, Registry};
use belljar_testbed::{Server, process};

use super::table::{Spread, Table};
use crate::command::{command, output};
use crate::repository;
use content::{Content, Image};
use engines::{Docker, Podman};

/// Largest share of Docker's time.
const DOCKER_TARGET: f64 = 0.5;
/// Largest memory of the server while it pulls, in bytes.
const PEAK_TARGET_BYTES: f64 = 60e6;

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Pulls per row.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pulls: u32,
    /// Leave podman and Docker out.
    #[arg(long)]
    alone: bool,
}

/// What was measured of one image.
#[derive(Default)]
struct Figures {
    belljar: Vec<Duration>,
    processor: Vec<Duration>,
    peak_bytes: Vec<u64>,
    podman: Vec<Duration>,
    docker: Vec<Duration>,
}

/// Measures, and prints the table. The release executable is built.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let content = Content::find()?;
    let registry = Registry::start_with(&content.registry(), Access::Open).ok_or("docker-registry is not installed")?;
    let mut kept =
        Kept { podman: if options.alone { None } else { Podman::find() }, docker: !options.alone && Docker::is_here(), ..Kept::default() };
    let mut table = Table::default();
    let inflated: Vec<Duration> = (0..options.pulls).map(|_| inflate(&content)).collect::<Result<_, _>>()?;
    for image in content::IMAGES {
        let mut figures = Figures::default();
        for _ in 0..options.pulls {
            turn(&mut figures, &image, registry.address(), &mut kept)?;
        }
        write(&mut table, &image, figures);
    }
    table.spread("gzip -dc of the one layer", Spread::of(inflated), String::new());
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// What stays until the end: everybody's copies of the images, and who may be asked for them.
#[derive(Default)]
struct Kept {
    servers: Vec<Server>,
    podman: Option<Podman>,
    docker: bool,
    dockers: Vec<Docker>,
}

/// One pull by everybody, each with nothing of the image.
fn turn(figures: &mut Figures, image: &Image, registry: &str, kept: &mut Kept) -> Result<(), Box<dyn Error>> {
    let name = format!("{registry}/{}", image.name);
    kept.servers.push(belljar(figures, &name)?);
    if let Some(podman) = &mut kept.podman {
        settle()?;
        figures.podman.push(podman.pull(&name)?);
    }
    if kept.docker {
        let mut docker = Docker::start()?;
        settle()?;
        figures.docker.push(docker.pull(&name)?);
        docker.stop();
        kept.dockers.push(docker);
    }
    Ok(())
}

/// A new server pulls, and ends.
fn belljar(figures: &mut Figures, name: &str) -> Result<Server, Box<dyn Error>> {
    let mut server = Server::start(repository::root().join("target/release/belljar"));
    let mut pull = command(&server.executable().to_string_lossy(), &["images", "pull", name]);
    pull.env("BELLJAR_SOCKET", server.socket()).stdin(Stdio::null());
    settle()?;
    let begun = Instant::now();
    output(&mut pull)?;
    figures.belljar.push(begun.elapsed());
    figures.processor.push(process::processor_time(server.pid()).ok_or("the server ended")?);
    figures.peak_bytes.push(process::peak_bytes(server.pid()).ok_or("the server ended")?);
    server.stop();
    Ok(server)
}

/// Waits until everything that was written is on the disk.
fn settle() -> Result<(), Box<dyn Error>> {
    output(&mut command("sync", &[]))?;
    Ok(())
}

fn inflate(content: &Content) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let mut gzip = command("gzip", &["--decompress", "--stdout"]);
    gzip.stdin(File::open(content.blob())?).stdout(File::create("/dev/null")?);
    crate::command::run(&mut gzip)?;
    Ok(begun.elapsed())
}

fn write(table: &mut Table, image: &Image, figures: Figures) {
    let (what, own) = (image.what, Spread::of(figures.belljar));
    let docker = (!figures.docker.is_empty()).then(|| Spread::of(figures.docker));
    let ratio =
        docker.map_or_else(String::new, |docker| format!("{:.2} of Docker's, target {DOCKER_TARGET}", own.median_ms / docker.median_ms));
    table.spread(&format!("{what}: belljar images pull"), own, ratio);
    table.spread("  processor time of the server", Spread::of(figures.processor), String::new());
    let peak = figures.peak_bytes.into_iter().max().unwrap_or_default();
    table.bytes("  peak memory of the server", peak, PEAK_TARGET_BYTES);
    if !figures.podman.is_empty() {
        table.peer("  podman pull", Spread::of(figures.podman), own);
    }
    if let Some(docker) = docker {
        table.peer("  docker pull", docker, own);
    }
}

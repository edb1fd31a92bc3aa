//! How long it takes from the request until the program runs. The program says so itself, into a pipe that is mounted
//! into the container, so that every runtime is measured at the same point.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use belljar_testbed::{DEADLINE, Server};
use serde_json::json;

use super::peers::Peer;
use super::rootfs;
use super::table::{Spread, Table};
use crate::command::{command, output};

/// Time a start may take, in milliseconds.
const TARGET_MS: f64 = 8.0;

/// What is prepared once.
pub(crate) struct Bench<'a> {
    server: &'a Server,
    ready: PathBuf,
    begun: Receiver<Instant>,
    peers: Vec<Peer>,
}

impl<'a> Bench<'a> {
    /// Makes the root file system and the pipe, imports the image, and finds the peers.
    pub(crate) fn prepare(server: &'a Server) -> Result<Self, Box<dyn Error>> {
        let folder = server.scratch("bench");
        let root = rootfs::make(&folder)?;
        let archive = fs::read(rootfs::pack(&root, &folder)?)?;
        server.api().with("content-type", "application/x-tar").post("/api/v1/images/import?name=bench", archive).expect(201);
        let ready = server.scratch("ready");
        let begun = listen(&ready.join("pipe"))?;
        let peers = ["crun", "runc"].into_iter().filter_map(|name| Peer::find(name, &folder, &ready, &begun)).collect();
        Ok(Self { server, ready, begun, peers })
    }

    /// Starts one container by the API: when its program ran, and when the answer was there.
    fn start(&self, image: &str, number: u32) -> Result<(Duration, Duration), Box<dyn Error>> {
        let mount = json!({"type": "bind", "source": self.ready, "target": "/ready"});
        let name = format!("bench-{number}");
        let body = json!({"image": image, "name": name, "command": rootfs::COMMAND, "mounts": [mount]});
        let asked = Instant::now();
        self.server.create(&body);
        let answered = asked.elapsed();
        let ran = self.begun.recv_timeout(DEADLINE)? - asked;
        self.server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204);
        Ok((ran, answered))
    }
}

/// A pipe at `path` that anybody may write to; each line's arrival is sent as a time.
pub(crate) fn listen(path: &Path) -> Result<Receiver<Instant>, Box<dyn Error>> {
    output(&mut command("mkfifo", &[&path.to_string_lossy()]))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    // For writing too, so that it never ends when the last writer goes (`fifo(7)`).
    let mut pipe = File::options().read(true).write(true).open(path)?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        while pipe.read_exact(&mut byte).is_ok() && sender.send(Instant::now()).is_ok() {}
    });
    Ok(receiver)
}

/// Starts `count` containers of each kind, one at a time and in turns, so that a slow minute of the machine is everybody's.
pub(crate) fn measure(table: &mut Table, bench: &mut Bench<'_>, count: u32, load: &str) -> Result<(), Box<dyn Error>> {
    let (mut ran, mut answered, mut host) = (Vec::new(), Vec::new(), Vec::new());
    let mut peers: Vec<Vec<Duration>> = bench.peers.iter().map(|_| Vec::new()).collect();
    for number in 0..count {
        let (program, answer) = bench.start("bench", number)?;
        ran.push(program);
        answered.push(answer);
        host.push(bench.start("host", number)?.0);
        for (peer, times) in bench.peers.iter_mut().zip(&mut peers) {
            times.push(peer.start(number, &bench.begun)?);
        }
    }
    let own = Spread::of(ran);
    table.time(&format!("start until the program runs, {load}"), own, TARGET_MS);
    table.time(&format!("start until the answer is there, {load}"), Spread::of(answered), TARGET_MS);
    table.time(&format!("start from the image host, {load}"), Spread::of(host), TARGET_MS);
    for (peer, times) in bench.peers.iter().zip(peers) {
        table.peer(&format!("{} run, {load}", peer.name()), Spread::of(times), own);
    }
    Ok(())
}

//! A door between a server and its registry that lets so many bytes through and then holds, until it is opened: so that something
//! can happen in the middle of a transfer. It must never know what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use belljar_testbed::wait_until;

/// Bytes that are carried at once.
const CHUNK_BYTES: usize = 16 << 10;

#[derive(Default)]
struct Door {
    allowed: u64,
    passed: u64,
}

/// The door. Its threads end with the test's process.
pub(crate) struct Gate {
    address: String,
    door: Arc<(Mutex<Door>, Condvar)>,
}

impl Gate {
    /// In front of `upstream`; holds when it has let `allowed` bytes through from there.
    pub(crate) fn before(upstream: &str, allowed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = listener.local_addr().expect("it has an address").to_string();
        let door = Arc::new((Mutex::new(Door { allowed, passed: 0 }), Condvar::new()));
        let (upstream, shared) = (upstream.to_owned(), Arc::clone(&door));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A registry that is away is one that hangs up.
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let there = (client.try_clone().expect("it can be cloned"), server.try_clone().expect("it can be cloned"));
                thread::spawn(move || carry(there.0, there.1, |_| ()));
                let door = Arc::clone(&shared);
                thread::spawn(move || carry(server, client, |bytes| wait_for_leave(&door, bytes)));
            }
        });
        Self { address, door }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Bytes that came through from the registry.
    pub(crate) fn passed(&self) -> u64 {
        self.door.0.lock().expect("nobody panicked with it").passed
    }

    /// Waits until as much came through as it lets through.
    pub(crate) fn wait_until_it_holds(&self) {
        wait_until("enough bytes came through", || {
            let door = self.door.0.lock().expect("nobody panicked with it");
            (door.passed + CHUNK_BYTES as u64 > door.allowed).then_some(())
        });
    }

    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        self.door.0.lock().expect("nobody panicked with it").allowed = u64::MAX;
        self.door.1.notify_all();
    }
}

fn wait_for_leave(door: &(Mutex<Door>, Condvar), bytes: usize) {
    let guard = door.0.lock().expect("nobody panicked with it");
    let held = |door: &mut Door| door.allowed - door.passed.min(door.allowed) < bytes as u64;
    let mut guard = door.1.wait_while(guard, held).expect("nobody panicked with it");
    guard.passed += bytes as u64;
}

/// Carries bytes until either end is gone, and then closes both.
fn carry(mut from: TcpStream, mut to: TcpStream, leave: impl Fn(usize)) {
    let mut chunk = [0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        leave(count);
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Both);
    let _gone = from.shutdown(Shutdown::Both);
}

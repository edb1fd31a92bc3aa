//! A proxy that leads to fakes by whatever name: `registry.example:443` is at a port of this machine's.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::lock;

/// A proxy that knows a few names, until the process ends.
pub struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One that leads from `host:port` to a port on loopback.
    pub fn start(ways: &[(&str, u16)]) -> Self {
        let ways: BTreeMap<String, u16> = ways.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let port = listener.local_addr().expect("its number").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (ways, told) = (ways.clone(), told.clone());
                std::thread::spawn(move || lead(stream, &ways, &told));
            }
        });
        Self { port, asked }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://user:secret@127.0.0.1:{}", self.port)
    }

    /// The heads of all that it was asked.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

fn lead(mut stream: TcpStream, ways: &BTreeMap<String, u16>, told: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    lock(told).push(head.clone());
    let Some(port) = head.split(' ').nth(1).and_then(|name| ways.get(name)) else {
        return stream.write_all(b"HTTP/1.1 502 No Way\r\n\r\n");
    };
    let mut server = TcpStream::connect(("127.0.0.1", *port))?;
    stream.write_all(b"HTTP/1.1 200 Led\r\n\r\n")?;
    let (mut back_from, mut back_to) = (server.try_clone()?, stream.try_clone()?);
    let back = std::thread::spawn(move || {
        let _either = io::copy(&mut back_from, &mut back_to);
        let _either = back_to.shutdown(Shutdown::Both);
    });
    let _either = io::copy(&mut reader, &mut server);
    let _either = server.shutdown(Shutdown::Write);
    let _joined = back.join();
    Ok(())
}

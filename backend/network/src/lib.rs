//! A container's network as the kernel has it: which interfaces it sees, and what went through them.
//!
//! Today a container has its own network namespace with loopback in it, so reading is all there is to do. Bridges, veth
//! pairs, addresses, published ports and the firewall arrive in a later issue and will live here.
//!
//! This crate must never know what a container is, nor how to start one: it is given a process, and looks into the
//! network namespace that this process lives in.

use std::io;

/// Most interfaces that are read of one namespace; a container with the right to make interfaces can make thousands.
pub const INTERFACES_MAX: usize = 1024;

/// One network interface, with its counters since it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name inside the namespace: `lo`, `eth0`.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

impl Interface {
    /// Whether it is the loopback interface, whose bytes never leave the container.
    pub fn is_loopback(&self) -> bool {
        self.name == "lo"
    }
}

/// Why the interfaces of a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read; most often because the process is gone.
    #[error("could not read {path}")]
    Read {
        /// The kernel's file.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The file does not look as `proc_pid_net(5)` says.
    #[error("could not understand line {line} of {path}")]
    Malformed {
        /// The kernel's file.
        path: String,
        /// Number of the line, from 1.
        line: usize,
    },
}

/// The kernel's file that [`interfaces`] reads: the source of each of its figures.
pub fn interfaces_source(pid: i32) -> String {
    format!("/proc/{pid}/net/dev")
}

/// The interfaces of the network namespace that process `pid` lives in, in the kernel's order; at most
/// [`INTERFACES_MAX`]. Source: `/proc/<pid>/net/dev` (`proc_pid_net(5)`).
pub fn interfaces(pid: i32) -> Result<Vec<Interface>, Error> {
    let path = interfaces_source(pid);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).map_err(|line| Error::Malformed { path, line }),
        Err(source) => Err(Error::Read { path, source }),
    }
}

/// Reads the table; on failure says which line, from 1, is not understood.
fn parse(text: &str) -> Result<Vec<Interface>, usize> {
    const HEADER_LINES: usize = 2;
    let lines = text.lines().enumerate().skip(HEADER_LINES).take(INTERFACES_MAX);
    lines.map(|(index, line)| parse_line(line).ok_or(index + 1)).collect()
}

/// One line: `  eth0: 8 receive counters, 8 transmit counters`. A name may itself hold colons (`eth0:1`), and in old
/// kernels nothing separated the colon from the first figure, so the last colon is the one that counts.
fn parse_line(line: &str) -> Option<Interface> {
    let (name, figures) = line.rsplit_once(':')?;
    let figures: Vec<u64> = figures.split_ascii_whitespace().map(|figure| figure.parse().ok()).collect::<Option<_>>()?;
    let &[rx_bytes, rx_packets, _, _, _, _, _, _, tx_bytes, tx_packets, ..] = figures.as_slice() else { return None };
    Some(Interface { name: name.trim_start().to_owned(), rx_bytes, tx_bytes, rx_packets, tx_packets })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    #[test]
    fn a_captured_table_is_read_to_the_last_figure() {
        let text = format!(
            "{HEADER}    lo:     168       2    0    0    0     0          0         0      168       2    0    0    0     0       0          0\n  \
             eth0: 18446744073709551615 41229    0    0    0     0          0         0   123456     789    0    0    0     0       0          0\n"
        );
        let interfaces = parse(&text).expect("a table");
        let loopback = Interface { name: "lo".into(), rx_bytes: 168, tx_bytes: 168, rx_packets: 2, tx_packets: 2 };
        let ethernet = Interface { name: "eth0".into(), rx_bytes: u64::MAX, tx_bytes: 123_456, rx_packets: 41_229, tx_packets: 789 };
        assert_eq!(interfaces, [loopback, ethernet]);
        assert!(interfaces[0].is_loopback() && !interfaces[1].is_loopback());
    }

    #[test]
    fn an_old_kernel_without_a_space_and_a_name_with_a_colon_are_read() {
        let line = "eth0:1:7 1 0 0 0 0 0 0 9 2 0 0 0 0 0 0";
        let read = parse_line(line).expect("a line");
        assert_eq!((read.name.as_str(), read.rx_bytes, read.tx_bytes), ("eth0:1", 7, 9));
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        for line in ["eth0 1 2 3", "eth0: 1 2 3", "eth0: 1 2 3 4 5 6 7 8 9 x", "eth0: -1 2 3 4 5 6 7 8 9 10"] {
            assert_eq!(parse(&format!("{HEADER}{line}\n")), Err(3), "{line}");
        }
    }

    #[test]
    fn our_own_interfaces_are_read_from_the_kernel() {
        let interfaces = interfaces(std::process::id().cast_signed()).expect("our own table");
        assert!(interfaces.iter().any(Interface::is_loopback), "{interfaces:?}");
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error_that_names_the_file() {
        let error = interfaces(0).expect_err("process 0 has no folder");
        assert_eq!(error.to_string(), "could not read /proc/0/net/dev");
    }
}

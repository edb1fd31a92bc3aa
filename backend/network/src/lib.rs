//! A container's network as the kernel has it: which interfaces it sees, and what went through them.
//!
//! Today a container has its own network namespace with loopback in it, so reading is all there is to do. Bridges, veth
//! pairs, addresses, published ports and the firewall arrive in a later issue and will live here.
//!
//! This crate must never know what a container is, nor how to start one: it is given a process, and looks into the
//! network namespace that this process lives in.

use std::path::PathBuf;
use std::sync::Arc;

use belljar_linux::reread::{Buffer, Descriptors, Ends, Reread};
use belljar_model::usage::InterfaceUsage;

/// Most interfaces that are read of one namespace; a container with the right to make interfaces can make thousands.
pub const INTERFACES_MAX: usize = 1024;

/// The interface whose bytes never leave the namespace.
const LOOPBACK: &str = "lo";

/// Lines of `/proc/<pid>/net/dev` before the first interface.
const HEADER_LINES: usize = 2;

/// The interfaces of the network namespace that a process lives in.
///
/// While its file is kept open, the namespace is: drop this when the process ends.
#[derive(Debug)]
pub struct Interfaces {
    file: Reread,
}

impl Interfaces {
    /// Those that process `pid` sees; nothing is opened before the first reading.
    pub fn of(pid: i32, descriptors: &Arc<Descriptors>) -> Self {
        Self { file: Reread::new(PathBuf::from(format!("/proc/{pid}/net/dev")), Ends::Empty, descriptors) }
    }

    /// The kernel's file that is read: the source of each figure.
    pub fn source(&self) -> String {
        self.file.path().display().to_string()
    }

    /// Reads them over `list`, whose memory is used again: in the kernel's order, at most [`INTERFACES_MAX`]. `None` where the
    /// process is gone, or the file does not look as `proc_pid_net(5)` says.
    pub fn read(&mut self, list: &mut Vec<InterfaceUsage>, buffer: &mut Buffer) -> Option<()> {
        parse(std::str::from_utf8(self.file.read(buffer)?).ok()?, list)
    }
}

/// What was received and sent over all interfaces but loopback, in bytes.
pub fn totals(list: &[InterfaceUsage]) -> (u64, u64) {
    let outside = || list.iter().filter(|interface| interface.name != LOOPBACK);
    let add = |sum: u64, bytes: u64| sum.saturating_add(bytes);
    let received = outside().map(|interface| interface.rx_bytes_total).fold(0, add);
    (received, outside().map(|interface| interface.tx_bytes_total).fold(0, add))
}

fn parse(text: &str, list: &mut Vec<InterfaceUsage>) -> Option<()> {
    let mut count = 0;
    for line in text.lines().skip(HEADER_LINES).take(INTERFACES_MAX) {
        if count == list.len() {
            list.push(InterfaceUsage::default());
        }
        parse_line(line, &mut list[count])?;
        count += 1;
    }
    list.truncate(count);
    Some(())
}

/// One line: `  eth0: 8 receive counters, 8 transmit counters`. A name may itself hold colons (`eth0:1`), and in old
/// kernels nothing separated the colon from the first figure, so the last colon is the one that counts.
fn parse_line(line: &str, interface: &mut InterfaceUsage) -> Option<()> {
    let (name, text) = line.rsplit_once(':')?;
    let mut figures = [0_u64; 16];
    let mut words = text.split_ascii_whitespace();
    for figure in &mut figures {
        *figure = words.next()?.parse().ok()?;
    }
    let name = name.trim_start();
    if interface.name != name {
        interface.name.clear();
        interface.name.push_str(name);
    }
    let [rx_bytes, rx_packets, rx_errors, rx_drops, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_drops, ..] = figures;
    interface.rx_bytes_total = rx_bytes;
    interface.tx_bytes_total = tx_bytes;
    interface.rx_packets_total = rx_packets;
    interface.tx_packets_total = tx_packets;
    interface.lost_packets_total = [rx_errors, rx_drops, tx_errors, tx_drops].into_iter().fold(0, u64::saturating_add);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    fn read(text: &str) -> Option<Vec<InterfaceUsage>> {
        let mut list = vec![InterfaceUsage { name: "of the reading before".into(), rx_bytes_total: 9, ..InterfaceUsage::default() }; 3];
        parse(text, &mut list).map(|()| list)
    }

    #[test]
    fn a_captured_table_is_read_to_the_last_figure() {
        let text = format!(
            "{HEADER}    lo:     168       2    0    0    0     0          0         0      168       2    0    0    0     0       0          0\n  \
             eth0: 18446744073709551615 41229    1    2    0     0          0         0   123456     789    3    4    0     0       0          0\n"
        );
        let interfaces = read(&text).expect("a table");
        let loopback = InterfaceUsage {
            name: "lo".into(),
            rx_bytes_total: 168,
            tx_bytes_total: 168,
            rx_packets_total: 2,
            tx_packets_total: 2,
            lost_packets_total: 0,
        };
        let ethernet = InterfaceUsage {
            name: "eth0".into(),
            rx_bytes_total: u64::MAX,
            tx_bytes_total: 123_456,
            rx_packets_total: 41_229,
            tx_packets_total: 789,
            lost_packets_total: 10,
        };
        assert_eq!(interfaces, [loopback, ethernet]);
        assert_eq!(totals(&interfaces), (u64::MAX, 123_456), "loopback does not count");
    }

    #[test]
    fn an_old_kernel_without_a_space_and_a_name_with_a_colon_are_read() {
        let interfaces = read(&format!("{HEADER}eth0:1:7 1 0 0 0 0 0 0 9 2 0 0 0 0 0 0\n")).expect("a table");
        assert_eq!((interfaces[0].name.as_str(), interfaces[0].rx_bytes_total, interfaces[0].tx_bytes_total), ("eth0:1", 7, 9));
    }

    #[test]
    fn a_line_that_is_not_understood_is_unknown() {
        for line in ["eth0 1 2 3", "eth0: 1 2 3", "eth0: 1 2 3 4 5 6 7 8 9 x 1 2 3 4 5 6", "eth0: -1 2 3 4 5 6 7 8 9 10 1 2 3 4 5 6"] {
            assert_eq!(read(&format!("{HEADER}{line}\n")), None, "{line}");
        }
    }

    #[test]
    fn our_own_interfaces_are_read_again_and_again() {
        let (descriptors, mut buffer, mut list) = (Descriptors::new(1), Buffer::default(), Vec::new());
        let mut interfaces = Interfaces::of(std::process::id().cast_signed(), &descriptors);
        for _ in 0..3 {
            interfaces.read(&mut list, &mut buffer).expect("our own table");
            assert_eq!(list.iter().filter(|interface| interface.name == LOOPBACK).count(), 1, "{list:?}");
        }
        assert_eq!(descriptors.left(), 0);
    }

    #[test]
    fn a_process_that_does_not_exist_has_none() {
        assert_eq!(Interfaces::of(0, &Descriptors::new(1)).read(&mut Vec::new(), &mut Buffer::default()), None);
    }
}

//! The layer of what Belljar itself puts into every tree: mount points, and the three files of names.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use belljar_linux::Result;
use belljar_linux::error::Context;

/// Folders that are mounted over.
const FOLDERS: [&str; 4] = ["proc", "sys", "dev", "etc"];

/// Fills the layer; doing so again replaces the files.
pub(super) fn fill(layer: &Path, hostname: Option<&str>) -> Result<()> {
    let shared = rustix::system::uname();
    let hostname = hostname.map_or_else(|| shared.nodename().to_string_lossy(), Into::into);
    for folder in FOLDERS {
        let path = layer.join(folder);
        match std::fs::DirBuilder::new().mode(0o755).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => {
                made.context("make folder", || path.display().to_string())?;
                set_mode(&path, 0o755)?;
            }
        }
    }
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n");
    for (name, content) in [("hostname", format!("{hostname}\n")), ("hosts", hosts), ("resolv.conf", resolv_conf())] {
        let path = layer.join("etc").join(name);
        std::fs::write(&path, content).context("write", || path.display().to_string())?;
        set_mode(&path, 0o644)?;
    }
    Ok(())
}

/// The umask of whoever started us must not decide.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).context("set mode of", || path.display().to_string())
}

/// The host's name servers, without those that only the host can reach: 127.0.0.0/8 and ::1 mean somebody else inside.
fn resolv_conf() -> String {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let reachable = |line: &&str| match line.strip_prefix("nameserver") {
        Some(address) => !address.trim().starts_with("127.") && address.trim() != "::1",
        None => !line.trim_start().starts_with(['#', ';']),
    };
    host.lines().filter(reachable).flat_map(|line| [line, "\n"]).collect()
}

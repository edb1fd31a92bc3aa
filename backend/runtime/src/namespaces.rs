//! The namespaces of a process, read from `/proc/<pid>/ns`.

use belljar_linux::namespace;
use belljar_model::namespace::{Kind, Namespace, Sharing};

/// Every namespace of process `pid` beside this process's own. Who else shares one is the caller's to say: here it is the
/// container's own or the host's.
pub fn of(pid: i32) -> Vec<Namespace> {
    let own = |kind: Kind| namespace::inode(std::process::id() as i32, kind.as_str()).ok();
    let read = |kind: Kind| {
        let inode = namespace::inode(pid, kind.as_str()).ok();
        let host_inode = own(kind);
        let sharing = if inode.is_some() && inode == host_inode { Sharing::Host } else { Sharing::Own };
        Namespace { kind, inode, host_inode, sharing, source: format!("/proc/{pid}/ns/{}", kind.as_str()) }
    };
    Kind::ALL.map(read).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shares_all_with_itself_and_knows_the_inodes() {
        let list = of(std::process::id() as i32);
        assert_eq!(list.len(), Kind::ALL.len());
        let uts = list.iter().find(|namespace| namespace.kind == Kind::Uts).unwrap();
        let link = std::fs::read_link("/proc/self/ns/uts").unwrap();
        assert_eq!(link.to_str(), Some(format!("uts:[{}]", uts.inode.unwrap()).as_str()));
        assert!(list.iter().all(|namespace| namespace.sharing == Sharing::Host));
    }
}

//! Users and groups of the host, by its own files (`group(5)`, `passwd(5)`).
//!
//! Never through libc: what is shipped has its libraries in itself, and libc would still load the modules that
//! `/etc/nsswitch.conf` names, which belong to another copy of it and end the process by a signal. The price is that a group of a
//! directory service is nobody's here.

const GROUPS: &str = "/etc/group";
const USERS: &str = "/etc/passwd";

/// A group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) gid: u32,
    members: Vec<String>,
}

impl Group {
    /// The group of this name, where there is one.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        group(&std::fs::read_to_string(GROUPS).ok()?, name)
    }

    /// Whether the user with this id is named among its members.
    pub(crate) fn has(&self, uid: u32) -> bool {
        let users = std::fs::read_to_string(USERS).unwrap_or_default();
        user(&users, uid).is_some_and(|name| self.members.iter().any(|member| member == name))
    }
}

/// `name:password:gid:member,member`.
fn group(text: &str, name: &str) -> Option<Group> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    let gid = fields.next()?.parse().ok()?;
    let members = fields.next().unwrap_or_default().split(',').filter(|member| !member.is_empty());
    Some(Group { gid, members: members.map(str::to_owned).collect() })
}

/// `name:password:uid:…`.
fn user(text: &str, uid: u32) -> Option<&str> {
    let is_it = |line: &&str| line.split(':').nth(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid);
    text.lines().find(is_it)?.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name_and_has_the_members_that_it_names() {
        let text = "root:x:0:\nbelljars:x:7:eve\nbelljar:x:990:ann,bob\nbroken:x:z:ann\n";
        assert_eq!(group(text, "belljar"), Some(Group { gid: 990, members: vec!["ann".into(), "bob".into()] }));
        assert_eq!(group(text, "root"), Some(Group { gid: 0, members: Vec::new() }));
        assert_eq!((group(text, "bell"), group(text, "broken"), group("", "root")), (None, None, None));
    }

    #[test]
    fn a_user_is_found_by_id() {
        let text = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:990::/:\nbad\n";
        assert_eq!((user(text, 0), user(text, 1000), user(text, 990)), (Some("root"), Some("ann"), None));
    }
}

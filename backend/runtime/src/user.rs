//! Users and groups by the container's own `/etc/passwd` and `/etc/group`, read inside it, as files that somebody hostile
//! may have made (CVE-2024-9341): regular, bounded, line by line.

use std::os::fd::AsFd;

use belljar_linux::error::Error;
use belljar_linux::tree;
use belljar_model::UserSpec;
use belljar_model::user::NameOrId;
use rustix::io::Errno;

use crate::spec::User;

/// Largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most groups that a user has by `/etc/group`; as the kernel's own limit (`NGROUPS_MAX`).
const USER_GROUPS_MAX: usize = 65_536;

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
}

/// Who a program runs as. Ids are taken as they are; only their home is looked up, and may be missing.
pub fn identity(root: impl AsFd, user: &User) -> Result<Identity, Error> {
    match user {
        User::LookUp { user, groups } => {
            let mut identity = look_up(&root, user.as_ref())?;
            for group in groups {
                let gid = group_id(&root, group)?;
                if gid != identity.gid && !identity.groups.contains(&gid) {
                    identity.groups.push(gid);
                }
            }
            Ok(identity)
        }
        User::Ids { uid, gid, groups } => {
            let passwd = lines(&root, "/etc/passwd").unwrap_or_default();
            let entry = passwd.iter().filter_map(|line| Passwd::parse(line)).find(|entry| entry.uid == *uid);
            let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/')).unwrap_or("/");
            Ok(Identity { uid: *uid, gid: *gid, groups: groups.clone(), home: home.to_owned() })
        }
    }
}

/// A group by its number, or by its name in the container's own file.
fn group_id(root: impl AsFd, group: &str) -> Result<u32, Error> {
    if let Some(id) = id(group) {
        return Ok(id);
    }
    let missing = || Error::new("look up", format!("group {group} in /etc/group"), Errno::NOENT);
    let lines = lines(root, "/etc/group")?;
    let found = lines.iter().filter_map(|line| Group::parse(line)).find(|known| known.name == group);
    found.map(|group| group.gid).ok_or_else(missing)
}

/// Looks a user up in the tree at `root`. A number needs no entry; a name without one is `ENOENT`, named in the subject.
pub fn look_up(root: impl AsFd, user: Option<&UserSpec>) -> Result<Identity, Error> {
    let passwd = lines(&root, "/etc/passwd")?;
    let group_file = lines(&root, "/etc/group")?;
    let root_user = NameOrId::Id(0);
    let wanted = user.map_or(&root_user, |user| &user.user);
    let entry = passwd.iter().filter_map(|line| Passwd::parse(line)).find(|entry| match wanted {
        NameOrId::Name(name) => entry.name == name,
        NameOrId::Id(id) => entry.uid == *id,
    });
    let uid = match (wanted, &entry) {
        (NameOrId::Id(id), _) => *id,
        (NameOrId::Name(_), Some(entry)) => entry.uid,
        (NameOrId::Name(name), None) => return Err(Error::new("look up", format!("user {name} in /etc/passwd"), Errno::NOENT)),
    };
    let gid = match user.and_then(|user| user.group.as_ref()) {
        Some(NameOrId::Id(id)) => *id,
        Some(NameOrId::Name(name)) => {
            let missing = || Error::new("look up", format!("group {name} in /etc/group"), Errno::NOENT);
            group_file.iter().filter_map(|line| Group::parse(line)).find(|group| group.name == name).ok_or_else(missing)?.gid
        }
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    // As `initgroups(3)`: groups that list the user, unless a group was asked for by itself.
    let own_groups = user.is_none_or(|user| user.group.is_none());
    let member = |group: &Group<'_>| entry.as_ref().is_some_and(|entry| group.members.split(',').any(|member| member == entry.name));
    let groups = group_file.iter().filter_map(|line| Group::parse(line)).filter(|group| own_groups && member(group)).map(|group| group.gid);
    let groups: Vec<u32> = groups.filter(|other| *other != gid).collect();
    if groups.len() > USER_GROUPS_MAX {
        let subject = format!("user {wanted}: more than {USER_GROUPS_MAX} groups in /etc/group list it");
        return Err(Error::new("look up", subject, Errno::TOOBIG));
    }
    let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/')).unwrap_or("/");
    Ok(Identity { uid, gid, groups, home: home.to_owned() })
}

fn lines(root: impl AsFd, path: &str) -> Result<Vec<String>, Error> {
    match tree::read_file(root, path, FILE_BYTES_MAX) {
        Ok(content) => Ok(String::from_utf8_lossy(&content).lines().map(str::to_owned).collect()),
        // An image without users has only numbers.
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Passwd<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (id(fields.get(2)?)?, id(fields.get(3)?)?);
        Some(Self { name: fields[0], uid, gid, home: fields.get(5)? })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        Some(Self { name: fields[0], gid: id(fields.get(2)?)?, members: fields.get(3).copied().unwrap_or_default() })
    }
}

/// An id that exists inside a container; anything else in the file is not an entry (CVE-2024-40635).
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= belljar_model::user::ID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(passwd: &str, group: &str) -> (tempfile::TempDir, std::os::fd::OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(folder.path().join("etc/group"), group).unwrap();
        let root = tree::root(folder.path()).unwrap();
        (folder, root)
    }

    #[test]
    fn names_numbers_and_groups_are_found_as_people_expect() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/sh\n0:x:1000:1000::/:\nbad:x:4294967296:1::/:\n";
        let (_folder, root) = tree(passwd, "web:x:34:\nmedia:x:44:web,other\nstaff:x:50:other\n");
        let look = |text: Option<&str>| look_up(&root, text.map(|text| text.parse().unwrap()).as_ref());
        let web = Identity { uid: 33, gid: 34, groups: vec![44], home: "/srv/web".into() };
        assert_eq!(look(Some("web")), Ok(web));
        assert_eq!(look(None).map(|identity| (identity.uid, identity.home)), Ok((0, "/root".into())));
        let zero = look(Some("0")).unwrap();
        assert_eq!(zero.uid, 0, "digits are a number even where a user is called so");
        assert_eq!(look(Some("web:staff")).map(|identity| (identity.gid, identity.groups)), Ok((50, vec![])));
        assert_eq!(look(Some("1234:99")).map(|identity| (identity.uid, identity.gid)), Ok((1234, 99)));
        let more = |groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            identity(&root, &User::LookUp { user: "web".parse().ok(), groups }).map(|identity| identity.groups)
        };
        assert_eq!(more(&["staff", "77", "media", "34"]), Ok(vec![44, 50, 77]), "each once, and not its own");
        assert_eq!(more(&["nogroup"]).map_err(|error| error.errno), Err(Errno::NOENT));
        for missing in ["nobody", "web:nogroup", "bad"] {
            assert_eq!(look(Some(missing)).map(drop).map_err(|error| error.errno), Err(Errno::NOENT), "{missing}");
        }
    }

    #[test]
    fn no_group_that_lists_the_user_is_left_out_unsaid() {
        let listed = |count: u32| (1..=count).map(|gid| format!("g:x:{}:u\n", gid % 10)).collect::<String>();
        let look = |count| {
            let (_folder, root) = tree("u:x:10:10:::\n", &listed(count));
            look_up(&root, "u".parse().ok().as_ref()).map(|identity| identity.groups.len()).map_err(|error| error.errno)
        };
        assert_eq!(look(200), Ok(200));
        assert_eq!((look(USER_GROUPS_MAX as u32), look(USER_GROUPS_MAX as u32 + 1)), (Ok(USER_GROUPS_MAX), Err(Errno::TOOBIG)));
    }

    #[test]
    fn a_passwd_that_is_no_file_is_an_error_and_no_hang() {
        let (folder, root) = tree("", "");
        std::fs::remove_file(folder.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc/passwd")).unwrap();
        assert!(look_up(&root, None).is_err());
    }
}

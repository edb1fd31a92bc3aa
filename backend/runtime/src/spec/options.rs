//! Options of a mount, as people and bundles write them (OCI runtime specification 1.2, *Linux mount options*; `mount(8)`).
//!
//! An option means one of four things: an attribute of the mount, which holds whatever the file system; propagation; what the
//! mount is at all (`bind`, `remount`); or something that the file system itself is told, unknown words included. Where
//! two contradict each other the later one holds, as it does for `mount(8)`.

use belljar_model::Invalid;

use super::IdMaps;
use super::tree::{Attribute, Content, CopyUp, Depth, MountAttributes, MountIds, MountPoint, Propagation};

/// What the options of one mount say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Whether it is something of the host's, and whether with all that is mounted below.
    pub bind: Option<Depth>,
    /// Whether the mount is there already, and is to be changed.
    pub change: Changing,
    /// Attributes of the mount.
    pub attributes: MountAttributes,
    /// Propagation.
    pub propagation: Option<Propagation>,
    /// Whether owners are shown with other ids, and whether on all below too.
    pub ids: Option<Depth>,
    /// Whether what is at the target is copied in.
    pub copy_up: CopyUp,
    /// What the file system is told; one with an empty value stands alone.
    pub options: Vec<(String, String)>,
}

/// Whether a mount is new, or one that is there is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Changing {
    /// It is new.
    #[default]
    Nothing,
    /// It is there already.
    Existing,
}

/// What one word does to attributes.
#[derive(Clone, Copy)]
enum Sense {
    Set,
    Clear,
}

/// Names of attributes: the word, what it does, to which. With an `r` before it, the same of all below too. The kinds of
/// access time are one field: taking one away leaves the kernel's own, `relatime`.
const ATTRIBUTES: [(&str, Sense, Attribute); 18] = [
    ("ro", Sense::Set, Attribute::ReadOnly),
    ("rw", Sense::Clear, Attribute::ReadOnly),
    ("nosuid", Sense::Set, Attribute::NoSuid),
    ("suid", Sense::Clear, Attribute::NoSuid),
    ("nodev", Sense::Set, Attribute::NoDev),
    ("dev", Sense::Clear, Attribute::NoDev),
    ("noexec", Sense::Set, Attribute::NoExec),
    ("exec", Sense::Clear, Attribute::NoExec),
    ("nodiratime", Sense::Set, Attribute::NoDirAtime),
    ("diratime", Sense::Clear, Attribute::NoDirAtime),
    ("nosymfollow", Sense::Set, Attribute::NoSymFollow),
    ("symfollow", Sense::Clear, Attribute::NoSymFollow),
    ("noatime", Sense::Set, Attribute::NoAtime),
    ("atime", Sense::Set, Attribute::RelAtime),
    ("strictatime", Sense::Set, Attribute::StrictAtime),
    ("nostrictatime", Sense::Set, Attribute::RelAtime),
    ("relatime", Sense::Set, Attribute::RelAtime),
    ("norelatime", Sense::Set, Attribute::RelAtime),
];

/// Of these a mount has one.
const ACCESS_TIMES: [Attribute; 3] = [Attribute::NoAtime, Attribute::RelAtime, Attribute::StrictAtime];

const PROPAGATIONS: [(&str, Propagation); 8] = [
    ("private", Propagation::Private),
    ("rprivate", Propagation::RPrivate),
    ("shared", Propagation::Shared),
    ("rshared", Propagation::RShared),
    ("slave", Propagation::Slave),
    ("rslave", Propagation::RSlave),
    ("unbindable", Propagation::Unbindable),
    ("runbindable", Propagation::RUnbindable),
];

/// Words that no kernel of today does anything about: inode versions are kept by whom needs them, and what a mount would
/// have logged comes back as its error.
const WITHOUT_EFFECT: [&str; 5] = ["iversion", "noiversion", "silent", "loud", "defaults"];

/// Reads the options of one mount. Refuses, by its place and name, one that can mean nothing.
pub fn parse_options(options: &[String]) -> Result<Parsed, Invalid> {
    let mut parsed = Parsed::default();
    // Some engines join and split lists, of which an empty word is left: it asks for nothing.
    for (index, option) in options.iter().enumerate().filter(|(_, option)| !option.is_empty()) {
        parsed.read(option).map_err(|problem| Invalid::new(format!("options[{index}]"), problem))?;
    }
    Ok(parsed)
}

impl Parsed {
    fn read(&mut self, option: &str) -> Result<(), String> {
        if option.contains('\0') {
            return Err(format!("{option:?} is no mount option"));
        }
        if self.read_attribute(option) || WITHOUT_EFFECT.contains(&option) {
            return Ok(());
        }
        if let Some((_, propagation)) = PROPAGATIONS.iter().find(|(name, _)| *name == option) {
            self.propagation = Some(*propagation);
            return Ok(());
        }
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(Depth::One)),
            "rbind" => self.bind = Some(Depth::All),
            "remount" => self.change = Changing::Existing,
            "idmap" => self.ids = Some(Depth::One),
            "ridmap" => self.ids = Some(Depth::All),
            "tmpcopyup" => self.copy_up = CopyUp::Yes,
            _ if option.starts_with("idmap=") || option.starts_with("ridmap=") => {
                return Err(format!("{option}: which ids become which is said in uidMappings and gidMappings"));
            }
            _ => return self.read_data(option),
        }
        Ok(())
    }

    /// Whether the word is an attribute's.
    fn read_attribute(&mut self, option: &str) -> bool {
        let find = |word: &str| ATTRIBUTES.iter().find(|(name, ..)| *name == word);
        let (below, found) = match (find(option), option.strip_prefix('r').and_then(find)) {
            (Some(found), _) => (false, found),
            (None, Some(found)) => (true, found),
            (None, None) => return false,
        };
        let MountAttributes { set, clear, set_below, clear_below } = &mut self.attributes;
        let (set, clear) = if below { (set_below, clear_below) } else { (set, clear) };
        let (to, from) = if matches!(found.1, Sense::Set) { (set, clear) } else { (clear, set) };
        from.remove(&found.2);
        if ACCESS_TIMES.contains(&found.2) {
            to.retain(|attribute| !ACCESS_TIMES.contains(attribute));
        }
        to.insert(found.2);
        true
    }

    /// What is for the file system. Commas part options, but not within quotes (`context="…:c1,c2"`) or after a backslash.
    fn read_data(&mut self, option: &str) -> Result<(), String> {
        for word in words(option) {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            if key.is_empty() {
                return Err(format!("{option:?} has a value without a name"));
            }
            self.options.push((key.to_owned(), value.trim_matches('"').to_owned()));
        }
        Ok(())
    }
}

fn words(option: &str) -> Vec<String> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = option.split(move |letter: char| {
        let parting = letter == ',' && !quoted && !escaped;
        quoted ^= letter == '"';
        escaped = letter == '\\' && !escaped;
        parting
    });
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// File systems that live in memory alone: they can always be written to by whoever makes them, so that only the mount is
/// read-only and what comes to lie in it later can still be made.
const WITHOUT_DEVICE: [&str; 7] = ["tmpfs", "proc", "sysfs", "mqueue", "devpts", "ramfs", "cgroup2"];

/// One entry of a bundle's `mounts`, before it means anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// `destination`. One that is not absolute is meant from the root, which the specification has deprecated.
    pub target: String,
    /// `type`.
    pub kind: Option<String>,
    /// `source`; of a bind an absolute path of the host.
    pub source: Option<String>,
    /// `options`.
    pub options: Vec<String>,
    /// `uidMappings` and `gidMappings`.
    pub maps: Option<IdMaps>,
}

impl Entry {
    /// What the entry means. Refuses, by its field, what can mean nothing.
    pub fn mount_point(self) -> Result<MountPoint, Invalid> {
        let parsed = parse_options(&self.options)?;
        if self.target.is_empty() || self.target.contains('\0') {
            return Err(Invalid::new("destination", "is empty, or no path"));
        }
        for (field, text) in [("type", &self.kind), ("source", &self.source)] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(Invalid::new(field, "has a zero byte in it"));
            }
        }
        let ids = mount_ids(parsed.ids, self.maps)?;
        let content = content(self.kind, self.source, &parsed)?;
        if !matches!(content, Content::Bind { .. }) && ids != MountIds::AsTheyAre {
            return Err(Invalid::new("options", "idmap: only what is bound can be mapped"));
        }
        let is_tmpfs = matches!(&content, Content::New { kind, .. } if kind == "tmpfs");
        if parsed.copy_up == CopyUp::Yes && !is_tmpfs {
            return Err(Invalid::new("options", "tmpcopyup: only a tmpfs can be copied into"));
        }
        let target = if self.target.starts_with('/') { self.target } else { format!("/{}", self.target) };
        Ok(MountPoint { target, content, attributes: parsed.attributes, propagation: parsed.propagation, ids, copy_up: parsed.copy_up })
    }
}

fn mount_ids(depth: Option<Depth>, maps: Option<IdMaps>) -> Result<MountIds, Invalid> {
    match (depth, maps) {
        (None, None) => Ok(MountIds::AsTheyAre),
        (Some(depth), None) => Ok(MountIds::Container(depth)),
        (_, Some(maps)) if maps.uids.is_empty() || maps.gids.is_empty() => {
            let field = if maps.uids.is_empty() { "uidMappings" } else { "gidMappings" };
            Err(Invalid::new(field, "is empty, while its counterpart is not"))
        }
        (depth, Some(maps)) => Ok(MountIds::Maps { maps, depth: depth.unwrap_or(Depth::One) }),
    }
}

fn content(kind: Option<String>, source: Option<String>, parsed: &Parsed) -> Result<Content, Invalid> {
    let mut options = parsed.options.clone();
    let told_read_only = |options: &mut Vec<(String, String)>| {
        if parsed.attributes.set.contains(&Attribute::ReadOnly) {
            options.push(("ro".to_owned(), String::new()));
        }
    };
    let bind = parsed.bind.or((kind.as_deref() == Some("bind")).then_some(Depth::One));
    match (parsed.change, bind, kind) {
        (Changing::Existing, Some(_), _) => Ok(Content::Change { options: Vec::new() }),
        (Changing::Existing, None, _) => {
            told_read_only(&mut options);
            Ok(Content::Change { options })
        }
        (Changing::Nothing, Some(depth), _) => match source {
            Some(source) if !source.is_empty() => Ok(Content::Bind { source: source.into(), depth, within: None }),
            _ => Err(Invalid::new("source", "is missing, and a bind is nothing without")),
        },
        (_, None, Some(kind)) if kind == "cgroup" || kind == "cgroup2" => Ok(Content::Cgroup),
        (_, None, Some(kind)) if !kind.is_empty() => {
            // A disk that cannot be written to cannot be mounted for writing first, so its file system is told as well.
            if !WITHOUT_DEVICE.contains(&kind.as_str()) {
                told_read_only(&mut options);
            }
            Ok(Content::New { kind, source: source.filter(|source| !source.is_empty()), options })
        }
        (Changing::Nothing, None, _) => Err(Invalid::new("type", "is missing, and it is no bind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(text: &str) -> Vec<String> {
        text.split_ascii_whitespace().map(str::to_owned).collect()
    }

    fn parsed(text: &str) -> Parsed {
        parse_options(&words_of(text)).unwrap()
    }

    #[test]
    fn every_option_of_the_specification_is_known() {
        let table = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud nolazytime mand noatime nodev \
            nodiratime noexec noiversion nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime \
            relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime \
            rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync \
            tmpcopyup unbindable idmap ridmap rnodev";
        for word in words_of(table).iter().filter(|word| *word != "\\") {
            let parsed = parsed(word);
            let told: Vec<&str> = parsed.options.iter().map(|(key, _)| key.as_str()).collect();
            let of_every_filesystem = ["async", "dirsync", "lazytime", "nolazytime", "mand", "nomand", "sync"];
            assert!(told.is_empty() || of_every_filesystem.contains(&told[0]), "{word} is taken for an option of one file system");
        }
    }

    #[test]
    fn the_later_of_two_that_contradict_each_other_holds() {
        let attributes = parsed("ro nosuid rw dev nodev noatime strictatime rro rrw").attributes;
        assert_eq!(attributes.set, [Attribute::NoSuid, Attribute::NoDev, Attribute::StrictAtime].into());
        assert_eq!(attributes.clear, [Attribute::ReadOnly].into());
        assert!(attributes.set_below.is_empty());
        assert_eq!(attributes.clear_below, [Attribute::ReadOnly].into());
        assert_eq!(parsed("rshared private rslave").propagation, Some(Propagation::RSlave));
        assert_eq!(parsed("rbind bind").bind, Some(Depth::All), "the deeper of the two is meant");
    }

    #[test]
    fn with_an_r_before_it_an_attribute_holds_for_all_below() {
        let attributes = parsed("rnosuid rnoatime rdiratime").attributes;
        assert_eq!(attributes.set_below, [Attribute::NoSuid, Attribute::NoAtime].into());
        assert_eq!(attributes.clear_below, [Attribute::NoDirAtime].into());
        assert_eq!(parsed("relatime").attributes.set, [Attribute::RelAtime].into(), "the r of relatime is its own");
    }

    #[test]
    fn what_is_not_known_is_for_the_file_system() {
        let told = parsed("size=64k mode=1777 nr_inodes=10 noswap").options;
        let expected = [("size", "64k"), ("mode", "1777"), ("nr_inodes", "10"), ("noswap", "")];
        assert_eq!(told, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let label = r#"context="system_u:object_r:container_file_t:s0:c1,c2""#;
        assert_eq!(parsed(label).options, [("context".to_owned(), "system_u:object_r:container_file_t:s0:c1,c2".to_owned())]);
        assert_eq!(parsed(r"upperdir=/a\,b,workdir=/w").options.len(), 2, "parted at commas that are not escaped");
    }

    #[test]
    fn an_option_that_can_mean_nothing_is_refused_by_place_and_name() {
        let refused = |options: &[&str]| parse_options(&options.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap_err();
        assert_eq!(refused(&["ro", "", "\0"]).field, "options[2]");
        let of = |words: &[&str]| parse_options(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap();
        assert_eq!(of(&["", "ro", ""]), of(&["ro"]), "an empty word asks for nothing");
        assert_eq!(refused(&["=x"]).field, "options[0]");
        let idmap = refused(&["idmap=uids=0-1-10"]);
        assert!(idmap.problem.contains("uidMappings"), "{idmap:?}");
    }

    fn entry(kind: &str, source: &str, options: &str) -> Entry {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Entry { target: "/t".into(), kind: text(kind), source: text(source), options: words_of(options), maps: None }
    }

    #[test]
    fn entries_of_a_bundle_come_to_mean_something() {
        let bind = entry("none", "/src", "rbind ro").mount_point().unwrap();
        assert_eq!(bind.content, Content::Bind { source: "/src".into(), depth: Depth::All, within: None });
        let shallow = Content::Bind { source: "/src".into(), depth: Depth::One, within: None };
        assert_eq!(entry("bind", "/src", "").mount_point().unwrap().content, shallow);
        assert_eq!(entry("cgroup", "cgroup", "ro").mount_point().unwrap().content, Content::Cgroup);
        let disk = entry("ext4", "/dev/vdb", "ro noload").mount_point().unwrap().content;
        let told = ["noload", "ro"].map(|key| (key.to_owned(), String::new()));
        assert_eq!(disk, Content::New { kind: "ext4".into(), source: Some("/dev/vdb".into()), options: told.to_vec() });
        let tmpfs = entry("tmpfs", "tmpfs", "ro size=1m").mount_point().unwrap();
        assert!(matches!(tmpfs.content, Content::New { options, .. } if options.len() == 1), "a read-only tmpfs can still be filled");
        assert_eq!(entry("", "", "remount bind ro").mount_point().unwrap().content, Content::Change { options: vec![] });
        let relative = Entry { target: "data".into(), ..entry("tmpfs", "", "") };
        assert_eq!(relative.mount_point().unwrap().target, "/data");
    }

    #[test]
    fn entries_that_can_mean_nothing_are_refused_by_their_field() {
        let field = |entry: Entry| entry.mount_point().unwrap_err().field;
        assert_eq!(field(entry("bind", "", "")), "source");
        assert_eq!(field(entry("", "x", "ro")), "type");
        assert_eq!(field(entry("bind", "/s", "tmpcopyup")), "options");
        assert_eq!(field(entry("tmpfs", "", "idmap")), "options");
        assert_eq!(field(Entry { target: String::new(), ..entry("tmpfs", "", "") }), "destination");
        let map = crate::spec::IdMap { inside: 0, outside: 1, count: 1 };
        let half = IdMaps { uids: vec![map], gids: vec![] };
        assert_eq!(field(Entry { maps: Some(half), ..entry("bind", "/s", "") }), "gidMappings");
    }
}

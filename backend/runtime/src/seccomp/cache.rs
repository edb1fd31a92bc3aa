//! Compiled programs on disk, for processes that make one container and end.
//!
//! A file is named after a digest of everything that decides about a program, and holds a checksum of itself. It is a
//! program that the kernel will be told to trust, so it is believed only where nobody but its owner could have written it:
//! a file that is damaged, cut off, foreign or open to others is compiled again and replaced.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash as _, Hasher};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use belljar_model::Invalid;
use libc::sock_filter;
use sha2::{Digest, Sha256};

use super::{Choice, Context, INSTRUCTIONS_MAX, Listener, Prepared, Record, Source, prepare};

/// Programs kept; the one that was written longest ago goes first.
pub const PROGRAMS_KEPT: usize = 64;

/// Changes with what the compiler makes of a profile, so that an older release's programs are not taken for ours.
const COMPILER: &str = concat!("belljar seccomp 2 ", env!("CARGO_PKG_VERSION"));

const MAGIC: &[u8; 8] = b"bjseccmp";
const DIGEST: usize = 32;
const HEAD: usize = MAGIC.len() + DIGEST + 8;

/// Most of what was passed over that is kept with a program, in bytes; a program with more to say is compiled every time.
const WARNINGS_BYTES_MAX: usize = 16 << 10;

/// [`prepare`], or what an earlier one left in `folder`. A folder that cannot be used costs time only.
pub fn cached(folder: &Path, choice: &Choice, context: &Context) -> Result<Prepared, Invalid> {
    let plain = match &choice.source {
        Source::Default => true,
        Source::Profile(profile) => !profile.uses_notify(),
    };
    if !plain || choice.record != Record::No {
        return prepare(choice, context);
    }
    let key = key(choice, context);
    let path = folder.join(hexadecimal(&key));
    if let Some(Kept { allowed, program, warnings }) = read(folder, &path, &key) {
        let flags = match &choice.source {
            Source::Default => belljar_linux::seccomp::Flags::SPEC_ALLOW,
            Source::Profile(profile) => profile.load_flags()?,
        };
        return Ok(Prepared { program, flags, listener: Listener::None, allowed, warnings });
    }
    let prepared = prepare(choice, context)?;
    if words(&prepared.warnings).len() <= WARNINGS_BYTES_MAX {
        let _ = write(folder, &path, &key, &prepared);
    }
    Ok(prepared)
}

/// What a file holds.
#[derive(Debug, PartialEq)]
struct Kept {
    allowed: usize,
    program: Vec<sock_filter>,
    warnings: Vec<String>,
}

fn words(warnings: &[String]) -> Vec<u8> {
    // Strings only: serde_json refuses nothing of it.
    serde_json::to_vec(warnings).unwrap_or_default()
}

fn key(choice: &Choice, context: &Context) -> [u8; DIGEST] {
    let Context { capabilities, native, kernel } = context;
    let facts = format!("{COMPILER} {capabilities:x} {} {}.{} ", native.name(), kernel.0, kernel.1);
    let mut digest = Everything(Sha256::new().chain_update(facts));
    choice.hash(&mut digest);
    digest.0.finalize().into()
}

/// A digest of everything that a value consists of: of that which decides whether two are equal.
struct Everything(Sha256);

impl Hasher for Everything {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Too short to tell one from another, and asked by nobody.
    fn finish(&self) -> u64 {
        u64::MAX
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether only this user could have written it.
fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

fn read(folder: &Path, path: &Path, key: &[u8; DIGEST]) -> Option<Kept> {
    if !is_ours(&fs::symlink_metadata(folder).ok()?) {
        return None;
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || !is_ours(&metadata) {
        return None;
    }
    let longest = (HEAD + INSTRUCTIONS_MAX * size_of::<sock_filter>() + WARNINGS_BYTES_MAX + DIGEST) as u64;
    let mut content = Vec::with_capacity(metadata.len().min(longest) as usize + 1);
    file.take(longest + 1).read_to_end(&mut content).ok()?;
    decode(&content, key)
}

fn encode(key: &[u8; DIGEST], prepared: &Prepared) -> Vec<u8> {
    let mut content = [MAGIC.as_slice(), key].concat();
    content.extend((prepared.allowed as u32).to_le_bytes());
    content.extend((prepared.program.len() as u32).to_le_bytes());
    for instruction in &prepared.program {
        content.extend(instruction.code.to_le_bytes());
        content.extend([instruction.jt, instruction.jf]);
        content.extend(instruction.k.to_le_bytes());
    }
    content.extend(words(&prepared.warnings));
    let sum: [u8; DIGEST] = Sha256::digest(&content).into();
    content.extend(sum);
    content
}

fn decode(content: &[u8], key: &[u8; DIGEST]) -> Option<Kept> {
    let (body, sum) = content.split_last_chunk::<DIGEST>()?;
    let expected: [u8; DIGEST] = Sha256::digest(body).into();
    let (head, rest) = body.split_at_checked(HEAD)?;
    let number = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (allowed, length) = (number(HEAD - 8)?, number(HEAD - 4)? as usize);
    let whole = *sum == expected && head.starts_with(MAGIC) && &head[MAGIC.len()..MAGIC.len() + DIGEST] == key;
    if !whole || length == 0 || length > INSTRUCTIONS_MAX {
        return None;
    }
    let (instructions, words) = rest.split_at_checked(length * 8)?;
    let (chunks, _) = instructions.as_chunks::<8>();
    let program = chunks.iter().map(|[c0, c1, jt, jf, k @ ..]| sock_filter {
        code: u16::from_le_bytes([*c0, *c1]),
        jt: *jt,
        jf: *jf,
        k: u32::from_le_bytes(*k),
    });
    Some(Kept { allowed: allowed as usize, program: program.collect(), warnings: serde_json::from_slice(words).ok()? })
}

fn write(folder: &Path, path: &Path, key: &[u8; DIGEST], prepared: &Prepared) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if !is_ours(&fs::symlink_metadata(folder)?) {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let temporary = folder.join(format!(".{}-{}", std::process::id(), hexadecimal(&key[..8])));
    let _ = fs::remove_file(&temporary);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(&encode(key, prepared)).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    make_room(folder)
}

/// Removes what is oldest, also what a writer left that died.
fn make_room(folder: &Path) -> std::io::Result<()> {
    let entries = fs::read_dir(folder)?.filter_map(Result::ok);
    let mut files: Vec<_> = entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    files.sort();
    let spare = files.len().saturating_sub(PROGRAMS_KEPT);
    files.into_iter().take(spare).try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn context() -> Context {
        Context::here(crate::spec::DEFAULT_CAPABILITIES)
    }

    #[test]
    fn a_program_is_compiled_once_and_read_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let first = cached(&folder, &Choice::default(), &context()).unwrap();
        let path = folder.join(hexadecimal(&key(&Choice::default(), &context())));
        let kept = read(&folder, &path, &key(&Choice::default(), &context())).expect("it is there and believed");
        assert_eq!(kept.allowed, first.allowed);
        assert!(kept.program == first.program);
        let other = Context { capabilities: 0, ..context() };
        assert_ne!(key(&Choice::default(), &context()), key(&Choice::default(), &other));
    }

    #[test]
    fn what_was_passed_over_is_said_of_a_kept_program_too() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let profile = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","no_such_call"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let choice = Choice::of(serde_json::from_str(profile).unwrap());
        let first = cached(&folder, &choice, &context()).unwrap();
        assert!(first.warnings.len() == 1 && first.warnings[0].contains("no_such_call"), "{:?}", first.warnings);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(cached(&folder, &choice, &context()).unwrap(), first);
    }

    #[test]
    fn what_is_damaged_or_cut_off_or_open_to_others_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let good = cached(&folder, &Choice::default(), &context()).unwrap();
        let key = key(&Choice::default(), &context());
        let path = folder.join(hexadecimal(&key));
        let content = fs::read(&path).unwrap();
        let believed = || read(&folder, &path, &key).is_some();
        for damaged in [0, MAGIC.len(), HEAD - 1, HEAD + 5, content.len() - 1] {
            let mut bytes = content.clone();
            bytes[damaged] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(!believed(), "byte {damaged}");
        }
        for length in [0, 1, HEAD, content.len() - 1] {
            fs::write(&path, &content[..length]).unwrap();
            assert!(!believed(), "{length} bytes");
        }
        fs::write(&path, &content).unwrap();
        assert!(believed());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        assert!(!believed(), "a group may write it");
        assert!(cached(&folder, &Choice::default(), &context()).unwrap().program == good.program);
        assert!(believed(), "and it was written anew");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!believed(), "anybody may put files into the folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let moved = folder.with_extension("elsewhere");
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        assert!(!believed(), "a link");
    }

    #[test]
    fn only_so_many_programs_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for kernel in 0..PROGRAMS_KEPT as u32 + 5 {
            let path = folder.path().join(kernel.to_string());
            fs::write(path, "").unwrap();
        }
        make_room(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), PROGRAMS_KEPT);
    }
}

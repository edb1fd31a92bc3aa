//! Programs of the kernel's own machine (`bpf(2)`) that decide which devices a v2 cgroup may open and make: assembled by
//! hand, loaded, attached, replaced.
//!
//! The kernel's verifier has the last word about a program; what is decided here is only what it says. Start reading at
//! [`assemble`]: rules in order, the last one that matches wins, for each kind of access by itself.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{Error, Result};

/// Making a node.
pub const MAKE: u8 = 1;
/// Opening for reading.
pub const READ: u8 = 2;
/// Opening for writing.
pub const WRITE: u8 = 4;

/// What kind of device a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// In blocks: disks.
    Block = 1,
    /// In characters: everything else.
    Character = 2,
}

/// Whether a rule gives or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It gives.
    Allow,
    /// It takes.
    Deny,
}

/// One rule; what is `None` matches any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it gives or takes.
    pub verdict: Verdict,
    /// Kind of device.
    pub kind: Option<DeviceKind>,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// [`MAKE`], [`READ`] and [`WRITE`].
    pub access: u8,
}

/// One instruction: `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    immediate: u32,
}

/// By this name a program is known as one of ours; at most 15 bytes.
const NAME: &[u8; 14] = b"belljar_device";
/// No helper of the kernel is called, so its licence does not matter to it.
const LICENSE: &std::ffi::CStr = c"Apache-2.0";
/// Most programs that are looked at on one cgroup; the kernel allows 64.
const PROGRAMS: usize = 64;

/// The register of the result.
const RESULT: u8 = 0;
/// Where the kernel puts what is asked: access and kind, major, minor, 32 bits each.
const CONTEXT: u8 = 1;
/// Access that no rule has decided yet.
const LEFT: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_LDX | BPF_MEM | BPF_W`.
const LOAD_WORD: u8 = 0x61;
/// `BPF_ALU | BPF_MOV | BPF_X`, 32 bits.
const COPY: u8 = 0xbc;
/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const SET: u8 = 0xb7;
/// `BPF_ALU | BPF_AND | BPF_K`, 32 bits.
const AND: u8 = 0x54;
/// `BPF_ALU | BPF_RSH | BPF_K`, 32 bits.
const SHIFT_RIGHT: u8 = 0x74;
/// `BPF_JMP32 | BPF_JNE | BPF_K`.
const JUMP_UNLESS_EQUAL: u8 = 0x56;
/// `BPF_JMP32 | BPF_JSET | BPF_K`.
const JUMP_IF_ANY: u8 = 0x46;
/// `BPF_JMP | BPF_JA`.
const JUMP: u8 = 0x05;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;

fn instruction(code: u8, destination: u8, offset: i16, immediate: u32) -> Instruction {
    Instruction { code, registers: destination, offset, immediate }
}

fn from_register(code: u8, destination: u8, source: u8, offset: i16) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate: 0 }
}

fn answer(verdict: Verdict) -> [Instruction; 2] {
    [instruction(SET, RESULT, 0, u32::from(verdict == Verdict::Allow)), instruction(EXIT, 0, 0, 0)]
}

/// The program that decides by these rules. It walks them from the last to the first and keeps what no rule has decided
/// yet; a denial of any of it ends the walk, and so does the last bit that is given. What no rule names is denied.
pub fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        from_register(LOAD_WORD, LEFT, CONTEXT, 0),
        from_register(LOAD_WORD, MAJOR, CONTEXT, 4),
        from_register(LOAD_WORD, MINOR, CONTEXT, 8),
        from_register(COPY, KIND, LEFT, 0),
        instruction(AND, KIND, 0, 0xffff),
        instruction(SHIFT_RIGHT, LEFT, 0, 16),
    ];
    for rule in rules.iter().rev() {
        let access = u32::from(rule.access);
        let decision = match rule.verdict {
            Verdict::Deny => vec![instruction(JUMP_IF_ANY, LEFT, 1, access), instruction(JUMP, 0, 2, 0)],
            Verdict::Allow => vec![instruction(AND, LEFT, 0, !access), instruction(JUMP_UNLESS_EQUAL, LEFT, 2, 0)],
        };
        let decision: Vec<Instruction> = decision.into_iter().chain(answer(rule.verdict)).collect();
        let kind = rule.kind.map(|kind| (KIND, kind as u32));
        let tests: Vec<(u8, u32)> =
            [kind, rule.major.map(|number| (MAJOR, number)), rule.minor.map(|number| (MINOR, number))].into_iter().flatten().collect();
        for (index, (register, number)) in tests.iter().enumerate() {
            // Past the tests that follow, and past the decision.
            let offset = tests.len() - index - 1 + decision.len();
            program.push(instruction(JUMP_UNLESS_EQUAL, *register, offset as i16, *number));
        }
        program.extend(decision);
    }
    program.extend(answer(Verdict::Deny));
    program
}

/// Commands of `bpf(2)`.
#[derive(Clone, Copy)]
enum Command {
    Load = 5,
    Attach = 8,
    Detach = 9,
    OpenById = 13,
    Inform = 15,
    Query = 16,
}

/// `BPF_PROG_TYPE_CGROUP_DEVICE`.
const CGROUP_DEVICE_PROGRAM: u32 = 15;
/// `BPF_CGROUP_DEVICE`.
const CGROUP_DEVICE: u32 = 6;
/// `BPF_F_ALLOW_MULTI`: programs of cgroups above and below decide as well; all must agree.
const ALLOW_MULTI: u32 = 2;
/// `BPF_F_REPLACE`.
const REPLACE: u32 = 4;

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads.
#[derive(Default)]
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    first: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[derive(Default)]
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// `BPF_PROG_QUERY`; the kernel writes `count` back.
#[derive(Default)]
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    reserved: u32,
}

/// `BPF_PROG_GET_FD_BY_ID`.
#[derive(Default)]
#[repr(C)]
struct OpenById {
    id: u32,
    next: u32,
    flags: u32,
}

/// `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Default)]
#[repr(C)]
struct Inform {
    program: u32,
    bytes: u32,
    information: u64,
}

/// Arguments of one command. Only the plain structures above implement it.
trait Argument {}
impl Argument for Load {}
impl Argument for Attach {}
impl Argument for Query {}
impl Argument for OpenById {}
impl Argument for Inform {}

fn bpf<T: Argument>(command: Command, argument: &mut T, operation: &'static str, subject: &str) -> Result<i32> {
    // SAFETY: bpf(2) demands a command and a readable and writable `union bpf_attr` of the given size: `argument` is one of the
    // `repr(C)` structures above, without padding, zeroed where nothing was set, borrowed for the call. Addresses inside them
    // are of buffers that the callers borrow across it, with their true lengths.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command as i32, std::ptr::from_mut(argument), size_of::<T>()) };
    if done >= 0 { Ok(done as i32) } else { Err(Error::last(operation, subject)) }
}

fn number(descriptor: impl AsFd) -> u32 {
    descriptor.as_fd().as_raw_fd().cast_unsigned()
}

/// Loads the program that decides by these rules. Needs `CAP_BPF` and `CAP_NET_ADMIN`, or `CAP_SYS_ADMIN`, of the host.
pub fn load(rules: &[DeviceRule]) -> Result<OwnedFd> {
    let program = assemble(rules);
    let mut name = [0; 16];
    name[..NAME.len()].copy_from_slice(NAME);
    let mut argument = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        instructions: program.len() as u32,
        first: program.as_ptr().expose_provenance() as u64,
        license: LICENSE.as_ptr().expose_provenance() as u64,
        name,
        ..Load::default()
    };
    let descriptor = bpf(Command::Load, &mut argument, "load", "device program")?;
    // SAFETY: BPF_PROG_LOAD returns a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes `program` the one of ours that decides for the v2 cgroup of this folder: in one move where there was one before, so
/// that at no moment none decides. Programs of others stay, and must agree.
pub fn put_in_force(folder: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut ours = attached(&folder)?.into_iter();
    let mut argument =
        Attach { target: number(&folder), program: number(&program), kind: CGROUP_DEVICE, flags: ALLOW_MULTI, ..Attach::default() };
    let first = ours.next();
    if let Some(before) = &first {
        argument.flags |= REPLACE;
        argument.replaced = number(before);
    }
    bpf(Command::Attach, &mut argument, "attach", "device program")?;
    ours.try_for_each(|other| detach(&folder, other))
}

/// Takes every program of ours from the v2 cgroup of this folder.
pub fn release(folder: impl AsFd) -> Result<()> {
    attached(&folder)?.into_iter().try_for_each(|program| detach(&folder, program))
}

fn detach(folder: impl AsFd, program: OwnedFd) -> Result<()> {
    let mut argument = Attach { target: number(folder), program: number(program.as_fd()), kind: CGROUP_DEVICE, ..Attach::default() };
    bpf(Command::Detach, &mut argument, "detach", "device program").map(drop)
}

/// The programs of ours that stand on the v2 cgroup of this folder itself.
pub fn attached(folder: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; PROGRAMS];
    let mut argument = Query {
        target: number(folder),
        kind: CGROUP_DEVICE,
        ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: ids.len() as u32,
        ..Query::default()
    };
    bpf(Command::Query, &mut argument, "list", "device programs")?;
    let mut ours = Vec::new();
    for id in ids.into_iter().take(argument.count as usize) {
        let program = match bpf(Command::OpenById, &mut OpenById { id, ..OpenById::default() }, "open", "device program") {
            // SAFETY: BPF_PROG_GET_FD_BY_ID returns a new descriptor, which nobody else owns.
            Ok(descriptor) => unsafe { OwnedFd::from_raw_fd(descriptor) },
            // Replaced meanwhile.
            Err(error) if error.errno == Errno::NOENT => continue,
            Err(error) => return Err(error),
        };
        if is_ours(&program)? {
            ours.push(program);
        }
    }
    Ok(ours)
}

/// Whether a program has our name, by `struct bpf_prog_info`, whose name begins at byte 64.
fn is_ours(program: &OwnedFd) -> Result<bool> {
    let mut information = [0_u64; 16];
    let mut argument = Inform {
        program: number(program),
        bytes: size_of_val(&information) as u32,
        information: information.as_mut_ptr().expose_provenance() as u64,
    };
    bpf(Command::Inform, &mut argument, "read", "device program")?;
    let name: Vec<u8> = information[8..10].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(name.starts_with(NAME) && name[NAME.len()] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verdict: Verdict, kind: DeviceKind, numbers: (Option<u32>, Option<u32>), access: u8) -> DeviceRule {
        DeviceRule { verdict, kind: Some(kind), major: numbers.0, minor: numbers.1, access }
    }

    /// Runs a program as the kernel would, for the few instructions used here.
    fn run(program: &[Instruction], context: [u32; 3]) -> u32 {
        let mut registers = [0_u32; 6];
        let mut at = 0_usize;
        loop {
            let step = program[at];
            let (to, from) = (usize::from(step.registers & 15), usize::from(step.registers >> 4));
            at += 1;
            let jumps = match step.code {
                LOAD_WORD => {
                    registers[to] = context[step.offset as usize / 4];
                    false
                }
                COPY => {
                    registers[to] = registers[from];
                    false
                }
                SET => {
                    registers[to] = step.immediate;
                    false
                }
                AND => {
                    registers[to] &= step.immediate;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= step.immediate;
                    false
                }
                JUMP_UNLESS_EQUAL => registers[to] != step.immediate,
                JUMP_IF_ANY => registers[to] & step.immediate != 0,
                JUMP => true,
                EXIT => return registers[0],
                code => panic!("{code:#x}"),
            };
            if jumps {
                at += step.offset as usize;
            }
        }
    }

    #[test]
    fn the_last_rule_that_matches_wins_for_each_access_by_itself() {
        let (allow, deny) = (Verdict::Allow, Verdict::Deny);
        let (block, character) = (DeviceKind::Block, DeviceKind::Character);
        let rules = [
            DeviceRule { verdict: deny, kind: None, major: None, minor: None, access: 7 },
            rule(allow, character, (Some(1), None), READ | WRITE),
            rule(deny, character, (Some(1), Some(3)), WRITE),
            rule(allow, block, (None, Some(5)), MAKE),
            rule(allow, character, (Some(u32::MAX), Some(0)), READ),
        ];
        let program = assemble(&rules);
        let asked = |kind: DeviceKind, major, minor, access: u8| run(&program, [u32::from(access) << 16 | kind as u32, major, minor]);
        assert_eq!(asked(character, 1, 5, READ | WRITE), 1);
        assert_eq!(asked(character, 1, 3, READ), 1);
        assert_eq!(asked(character, 1, 3, READ | WRITE), 0);
        assert_eq!(asked(character, 1, 5, MAKE), 0);
        assert_eq!(asked(block, 8, 5, MAKE), 1);
        assert_eq!(asked(block, 8, 5, MAKE | READ), 0);
        assert_eq!(asked(character, u32::MAX, 0, READ), 1);
        assert_eq!(asked(character, 2, 0, READ), 0);
        assert_eq!(run(&assemble(&[]), [u32::from(READ) << 16 | 2, 1, 3]), 0, "what no rule names is denied");
    }

    #[test]
    fn the_kernels_verifier_takes_the_program_and_it_replaces_its_elder() {
        let mounts = crate::mountinfo::read().unwrap();
        let Some(unified) = mounts.iter().find(|mount| mount.filesystem == "cgroup2") else {
            println!("skipped: needs a v2 cgroup hierarchy");
            return;
        };
        let folder = unified.point.join(format!("belljar-bpf-{}", std::process::id()));
        if std::fs::create_dir(&folder).is_err() {
            println!("skipped: needs root");
            return;
        }
        let outcome = std::panic::catch_unwind(|| {
            let handle = std::fs::File::open(&folder).unwrap();
            let many: Vec<DeviceRule> =
                (0..400).map(|number| rule(Verdict::Allow, DeviceKind::Character, (Some(number), None), READ | MAKE)).collect();
            for rules in [&many[..], &many[..1], &[]] {
                let program = load(rules).unwrap();
                put_in_force(&handle, &program).unwrap();
                assert_eq!(attached(&handle).unwrap().len(), 1, "one replaces the other");
            }
            release(&handle).unwrap();
            assert_eq!(attached(&handle).unwrap().len(), 0);
        });
        std::fs::remove_dir(&folder).unwrap();
        outcome.unwrap();
    }
}

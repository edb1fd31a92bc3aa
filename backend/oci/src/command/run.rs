//! `run`: a container is created and started, and where it is not detached this stays until its program ends.

use belljar_runtime::Spec;
use belljar_runtime::spec::Start;

use super::{Call, Command, DONE, Error, delete};
use crate::flags::{Flag, Line, Order, switch, valued};
use crate::journal::Journal;
use crate::make::{self, Made, Stay, Wish};
use crate::relay::Signals;
use crate::state::{Folder, Record, Released};

const FLAGS: &[Flag] = &[
    valued("bundle", "b", "DIR", "the bundle (default: the current directory)"),
    valued("console-socket", "", "SOCKET", "send the other end of the container's terminal there"),
    valued("pidfd-socket", "", "SOCKET", "send a pidfd of the container's first process there"),
    valued("pid-file", "", "FILE", "write the pid of the container's first process there"),
    switch("no-pivot", "", "accepted for initramfs users; refused, since the host's root would stay in reach"),
    switch("no-new-keyring", "", "keep the caller's session keyring"),
    valued("preserve-fds", "", "N", "pass N more descriptors than the standard three and $LISTEN_FDS"),
    switch("detach", "d", "end as soon as the program runs"),
    switch("keep", "", "do not delete the container when its program has ended"),
    switch("no-subreaper", "", "accepted: this is never one"),
];

pub(super) const COMMAND: Command =
    Command { name: "run", words: "<container-id>", about: "create and start a container", flags: FLAGS, order: Order::Anywhere, run };

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("run")?;
    ran(call, line, id).map_err(|error| Error::Make { command: "run", source: Box::new(error) })
}

fn ran(call: &Call, line: &Line, id: &str) -> Result<u8, Error> {
    make::require_root()?;
    crate::state::check_id(id)?;
    let bundle = make::bundle_to_make(line)?;
    let stay = if line.has("detach") { Stay::Detached } else { Stay::Attached };
    // Before there is a program: a signal that comes in between would leave it alone.
    let signals = (stay == Stay::Attached).then(Signals::hold).transpose()?;
    let wish = Wish { id, line, root: &call.root, driver: call.driver, start: Start::AtOnce, stay };
    let Made { folder, record, spec, mut running, lock } = make::make(&wish, bundle, &call.journal)?;
    // All that is known is written down: hooks may ask for it, or change it, as long as they want.
    let released = lock.release();
    if let Some(first) = record.first {
        make::poststart(&spec, first, &call.journal);
    }
    let Some(signals) = signals else {
        if let (Some((proxy, _)), Some(first)) = (&running.notice, record.first) {
            proxy.until_ready(first)?;
        }
        return Ok(DONE);
    };
    let status = make::stay(&mut running, &signals);
    // Also where nobody can stay with it: who called is told that it failed, and looks for nothing any more.
    let destroyed = if line.has("keep") { Ok(()) } else { end(&folder, released, (&record, spec), &call.journal) };
    status.and_then(|status| destroyed.map(|()| status))
}

/// Takes away what is left of the container, unless somebody deleted it meanwhile: then all of this was done, and what has its id
/// now, if anything, is another's.
fn end(folder: &Folder, released: Released, (record, spec): (&Record, Spec), journal: &Journal) -> Result<(), Error> {
    match folder.lock_again(released)? {
        Some(_lock) => delete::destroy(folder, record, Some(spec), journal),
        None => Ok(()),
    }
}

//! `create`: a container that is complete and waits to be started.

use belljar_runtime::spec::Start;

use super::{Call, Command, DONE, Error};
use crate::flags::{Line, Order};
use crate::make::{self, FLAGS, Stay, Wish};

pub(super) const COMMAND: Command =
    Command { name: "create", words: "<container-id>", about: "create a container", flags: &FLAGS, order: Order::Anywhere, run };

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("create")?;
    created(call, line, id).map_err(|error| Error::Make { command: "create", source: Box::new(error) })
}

fn created(call: &Call, line: &Line, id: &str) -> Result<u8, Error> {
    make::require_root()?;
    crate::state::check_id(id)?;
    let bundle = make::bundle_to_make(line)?;
    let wish = Wish { id, line, root: &call.root, driver: call.driver, start: Start::WhenTold, stay: Stay::Detached };
    make::make(&wish, bundle, &call.journal)?;
    Ok(DONE)
}

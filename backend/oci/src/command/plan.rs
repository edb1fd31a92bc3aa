//! `plan`: the steps that would make a container of a bundle, without taking any.

use std::path::Path;

use belljar_model::plan::Place;
use belljar_runtime::cgroup::Hierarchies;
use belljar_runtime::plan::{self, Facts};
use belljar_runtime::spec::{Keyring, Start};

use super::{Call, Command, DONE, Error, print};
use crate::flags::{Flag, Line, Order, valued};
use crate::make;
use crate::translate::{self, Request};

const FLAGS: &[Flag] = &[
    valued("bundle", "b", "DIR", "the bundle (default: the current directory)"),
    valued("format", "f", "FORMAT", "text (default) or json"),
];

pub(super) const COMMAND: Command = Command {
    name: "plan",
    words: "[container-id]",
    about: "show the steps that would make a container, without taking any",
    flags: FLAGS,
    order: Order::Anywhere,
    run,
};

/// The id of a container that is not made.
const NOBODY: &str = "plan";

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.words.first().map_or(NOBODY, String::as_str);
    crate::state::check_id(id)?;
    let bundle = make::bundle(line)?;
    let state_dir = call.root.join(id);
    let request = Request {
        id,
        bundle: &bundle.path,
        state_dir: Path::new(&state_dir),
        driver: call.driver,
        start: Start::AtOnce,
        keyring: Keyring::New,
        preserved_descriptors: 0,
    };
    let translation = translate::translate(&bundle.document, &request)?;
    translation.warnings.iter().for_each(|warning| call.journal.warning(warning));
    let plan = plan::make(&translation.spec, &Facts { hierarchies: Hierarchies::probe()?, filter: None })?;
    make::tell_filter(&plan, &call.journal);
    let mut steps = plan.records();
    steps.extend(plan::make_poststart(&translation.spec).records());
    let text = match line.value("format").unwrap_or("text") {
        "json" => {
            let list: Vec<_> = steps.iter().map(|step| serde_json::json!({"place": step.place, "text": step.text})).collect();
            format!("{}\n", serde_json::to_string_pretty(&list).unwrap_or_default())
        }
        "text" => {
            let place = |place| if place == Place::Outside { "outside" } else { "inside" };
            steps.iter().enumerate().map(|(index, step)| format!("{:3}  {:7}  {}\n", index + 1, place(step.place), step.text)).collect()
        }
        other => return Err(Error::Refused(format!("invalid format option: {other:?} is neither text nor json"))),
    };
    print(&text)?;
    Ok(DONE)
}

//! What reading layers costs, for `cargo xtask bench overlay`: the changes of a container with so many files copied up, and one
//! folder of so many entries over so many layers. Prints the microseconds of each round as JSON.
//!
//! `overlay FOLDER FILES ENTRIES LAYERS ROUNDS` makes what it reads in FOLDER, which must be empty. Copied up is copied here by
//! hand, in one of three ways: other content of another size, other content of the same size, and the same with another mode.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use belljar_model::overlay::{Layer, Role, Stack};
use belljar_runtime::overlay;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Files of one folder.
const FILES_A_FOLDER: usize = 500;
/// How a copied-up file differs.
const WAYS: [(&str, &str, u32); 3] = [
    ("another size", "content of a file that grew\n", 0o644),
    ("the same size", "CONTENT of a file\n", 0o644),
    ("another mode only", "content of a file\n", 0o600),
];
const BELOW: &str = "content of a file\n";

fn layer(role: Role, path: &Path) -> Layer {
    let path = path.display().to_string();
    Layer { role, path, at: String::new(), label: String::new(), digest: None, size_bytes: None, command: None }
}

fn stack(layers: Vec<Layer>) -> Stack {
    Stack { layers, work: String::new(), merged: None, quota: None }
}

fn timed(rounds: usize, mut read: impl FnMut() -> Outcome<usize>, expected: usize) -> Outcome<Vec<u128>> {
    let mut usec = Vec::new();
    for _round in 0..rounds {
        let begun = Instant::now();
        let found = read()?;
        usec.push(begun.elapsed().as_micros());
        if found != expected {
            return Err(format!("found {found} of {expected}").into());
        }
    }
    Ok(usec)
}

fn copied_up(folder: &Path, files: usize, rounds: usize, way: (&str, &str, u32)) -> Outcome<Vec<u128>> {
    let (name, content, mode) = way;
    let (upper, below) = (folder.join(name).join("upper"), folder.join(name).join("below"));
    for number in 0..files {
        for (layer, content, mode) in [(&below, BELOW, 0o644), (&upper, content, mode)] {
            let place = layer.join(format!("srv/{}", number / FILES_A_FOLDER));
            std::fs::create_dir_all(&place)?;
            let file = place.join(number.to_string());
            std::fs::write(&file, content)?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?;
        }
    }
    let stack = stack(vec![layer(Role::Upper, &upper), layer(Role::Image, &below)]);
    timed(rounds, || Ok(overlay::changes(&stack)?.len()), files)
}

fn wide(folder: &Path, (entries, layers): (usize, usize), rounds: usize, is_in: impl Fn(usize, usize) -> bool) -> Outcome<Vec<u128>> {
    let upper = folder.join("upper");
    std::fs::create_dir_all(upper.join("srv"))?;
    let mut all = vec![layer(Role::Upper, &upper)];
    for number in 0..layers {
        let path = folder.join(number.to_string());
        std::fs::create_dir_all(path.join("srv"))?;
        for entry in (0..entries).filter(|entry| is_in(*entry, number)) {
            std::fs::write(path.join("srv").join(format!("entry-{entry}")), BELOW)?;
        }
        all.push(layer(Role::Image, &path));
    }
    let stack = stack(all);
    timed(rounds, || Ok(overlay::entries(&stack, "/srv")?.len()), entries)
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, files, entries, layers, rounds] = arguments.as_slice() else { return Err("FOLDER FILES ENTRIES LAYERS ROUNDS".into()) };
    let (folder, files, rounds) = (Path::new(folder), files.parse()?, rounds.parse()?);
    let size = (entries.parse()?, layers.parse()?);
    let mut told = serde_json::Map::new();
    for way in WAYS {
        told.insert(format!("changes, {}", way.0), serde_json::to_value(copied_up(folder, files, rounds, way)?)?);
    }
    let spread = wide(&folder.join("spread"), size, rounds, |entry, layer| entry % size.1 == layer)?;
    told.insert("folder, each entry in one layer".to_owned(), serde_json::to_value(spread)?);
    let full = wide(&folder.join("full"), size, rounds, |_, _| true)?;
    told.insert("folder, each entry in every layer".to_owned(), serde_json::to_value(full)?);
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}

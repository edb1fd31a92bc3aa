//! The tour of the README, to the letter. A block of commands in the README is a test:
//!
//! ````text
//! <!-- tour: names -->
//! ```sh
//! belljar run --hostname bell host uname -n
//! # => bell
//! ```
//! ````
//!
//! `# => text` says that what the commands since the last such line wrote contains `text`; `…` in it stands for
//! anything within the line. `registry.example` stands for a registry that the test has started, with one image in it. The commands run by `sh`, with `belljar` on `PATH`, in a mount namespace of their own in
//! which the server under test stands where the README says that it is.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use belljar_testbed::Server;
use serde_json::json;

/// Commands, and what they have to have written.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    commands: String,
    expected: Vec<String>,
}

/// The blocks of a text that are marked as part of the tour, by name.
fn blocks(readme: &str) -> Vec<(String, String)> {
    let marked = readme.split("<!-- tour: ").skip(1);
    let block = |rest: &str| {
        let (name, rest) = rest.split_once(" -->")?;
        let (_, rest) = rest.split_once("```sh\n")?;
        let (commands, _) = rest.split_once("```")?;
        Some((name.to_owned(), commands.to_owned()))
    };
    marked.filter_map(block).collect()
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut commands = String::new();
    for line in block.lines() {
        match line.trim_start().strip_prefix("# =>") {
            Some(text) if commands.is_empty() => {
                steps.last_mut().expect("an expectation follows a command").expected.push(text.trim().to_owned());
            }
            Some(text) => steps.push(Step { commands: std::mem::take(&mut commands), expected: vec![text.trim().to_owned()] }),
            None => commands = commands + line + "\n",
        }
    }
    if !commands.trim().is_empty() {
        steps.push(Step { commands, expected: Vec::new() });
    }
    steps
}

/// Whether one line of `output` contains the parts of `expected` between its `…`, in order.
fn is_told(output: &str, expected: &str) -> bool {
    output.lines().any(|line| {
        let mut rest = Some(line);
        for part in expected.split('…') {
            rest = rest.and_then(|rest| rest.split_once(part.trim())).map(|(_, after)| after);
        }
        rest.is_some()
    })
}

/// A script in which every step runs in the same shell, and what it writes goes to a file of its own.
fn script(steps: &[Step], server: &Server, outputs: &Path) -> String {
    let mut script = "set -e\nmount --make-rprivate /\nmount -t tmpfs tmpfs /run\nmkdir -p /run/belljar\n".to_owned();
    script += &format!("mount --bind {} /run/belljar\n", server.run_dir().display());
    script += "mount -t tmpfs tmpfs /var/lib\nmkdir -p /var/lib/belljar\n";
    script += &format!("mount --bind {} /var/lib/belljar\nset +e\n", server.data_dir().display());
    for (number, step) in steps.iter().enumerate() {
        script += &format!("{{\n{}\n}} > {}/{number} 2>&1\n", step.commands, outputs.display());
    }
    script
}

/// The folder on the host that the README's commands make and remove; it is one for all, so blocks take turns.
const FOLDER: &str = "/srv/belljar-tour";

/// The turn of one block, until it is dropped.
struct Turn(File);

impl Turn {
    fn wait() -> Self {
        let lock = File::create(std::env::temp_dir().join("belljar-tour.lock")).unwrap();
        lock.lock().unwrap();
        Self(lock)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _removed_by_its_last_command = fs::remove_dir_all(FOLDER);
        let _unlocked_when_closed = self.0.unlock();
    }
}

fn readme() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    fs::read_to_string(root.join("README.md")).unwrap()
}

/// What the README calls a registry that everybody has.
const REGISTRY: &str = "registry.example";

fn run(name: &str) {
    let readme = readme();
    let mine: String = blocks(&readme).into_iter().filter(|(block, _)| block == name).map(|(_, commands)| commands).collect();
    assert!(!mine.is_empty(), "the README has a block `tour: {name}`");
    let Some(server) = crate::server() else { return };
    let registry = mine
        .contains(REGISTRY)
        .then(|| crate::images::registry(&fs::read(crate::images::rootfs(&server, "tour-base")).unwrap(), &json!({})));
    let mine = registry.as_ref().map_or(mine.clone(), |registry| mine.replace(REGISTRY, &registry.host()));
    let _turn = mine.contains(FOLDER).then(Turn::wait);
    let (work, outputs) = (server.scratch("tour"), server.scratch("outputs"));
    let path = format!("{}:{}", Path::new(crate::EXECUTABLE).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let steps = steps(&mine);
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &script(&steps, &server, &outputs)]);
    shell.env("PATH", path).env("BELLJAR_SOCKET", server.socket()).current_dir(&work);
    let ended = shell.output().unwrap();

    for (number, step) in steps.iter().enumerate() {
        let output = fs::read_to_string(outputs.join(number.to_string())).unwrap_or_default();
        for expected in &step.expected {
            let diagnosis = String::from_utf8_lossy(&ended.stderr);
            assert!(is_told(&output, expected), "$ {}\nwrote:\n{output}\nwithout: {expected}\n{diagnosis}", step.commands);
        }
    }
}

#[test]
fn the_tour_of_names_is_as_the_readme_says() {
    run("names");
}

#[test]
fn the_tour_of_memory_is_as_the_readme_says() {
    run("memory");
}

#[test]
fn the_tour_of_the_overlay_is_as_the_readme_says() {
    run("overlay");
}

#[test]
fn the_tour_of_images_is_as_the_readme_says() {
    run("images");
}

#[test]
fn the_tour_of_a_database_is_as_the_readme_says() {
    run("database");
}

#[test]
fn the_tour_of_ten_at_once_is_as_the_readme_says() {
    run("ten");
}

#[test]
fn the_tour_of_looking_in_is_as_the_readme_says() {
    run("exec");
}

#[test]
fn the_tour_of_volumes_is_as_the_readme_says() {
    run("volumes");
}

#[test]
fn the_tour_of_health_is_as_the_readme_says() {
    run("health");
}

#[test]
fn the_tour_of_loosening_is_as_the_readme_says() {
    run("loosened");
}

#[test]
fn the_tour_with_curl_is_as_the_readme_says() {
    run("curl");
}

#[test]
fn every_block_of_the_tour_is_run_by_a_test() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("README.md")).unwrap();
    for (name, _) in blocks(&readme) {
        assert!(include_str!("tour.rs").contains(&format!("    run(\"{name}\");")), "tour: {name} has no test");
    }
}

#[test]
fn commands_and_what_they_write_are_told_apart() {
    let text = "<!-- tour: a -->\n```sh\none\ntwo\n# => 2\n# => two\nthree\n```\nwords\n";
    let found = blocks(text);
    assert_eq!(found.len(), 1);
    let expected = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let told = [
        Step { commands: "one\ntwo\n".to_owned(), expected: expected(&["2", "two"]) },
        Step { commands: "three\n".to_owned(), expected: Vec::new() },
    ];
    assert_eq!(steps(&found[0].1), told);
    assert!(is_told("limit 4 MiB, peak 3.9 MiB, process tail", "limit 4 MiB, … process tail"));
    assert!(!is_told("process tail\nlimit 4 MiB", "limit 4 MiB, … process tail"));
}

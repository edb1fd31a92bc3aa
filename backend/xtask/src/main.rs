//! `cargo xtask`: the project's own tools. It must never be needed to build or run the product, and it knows the
//! product as an outsider does: its manifest files, its sources as text, its executable and its REST API.
//!
//! Start reading at [`test`], which is what a machine runs for every change, then [`tidy`].

mod bench;
mod command;
mod dist;
mod repository;
mod screenshot;
mod test;
mod tidy;
mod vendor;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own tools.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prove the arrows and absences of ARCHITECTURE.md, and that what is small stays small.
    Tidy(tidy::Options),
    /// Everything that a change has to pass: format, clippy, tidy, all tests, and the browser tests.
    Test,
    /// The tests in a virtual machine with cgroup v2 alone, which are a stage of `test`.
    Vm {
        /// Only tests whose package, target or name contains one of these.
        filters: Vec<String>,
    },
    /// What the virtual machine itself executes.
    #[command(hide = true)]
    Inside {
        /// The file that says what is to be done.
        orders: std::path::PathBuf,
    },
    /// Measure starts, memory and pages, beside other runtimes where they are installed.
    Bench(bench::Options),
    /// Build what is shipped: the executable with link-time optimisation.
    Dist,
    /// Make static/screenshot.png from a running server.
    Screenshot,
    /// Copy what a browser loads of others from the npm registry to static/vendor, by version and hash.
    Vendor,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Tidy(options) => tidy::run(&options).map_err(Into::into),
        Task::Test => test::run().map_err(Into::into),
        Task::Vm { filters } => test::run_vm(&filters).map_err(Into::into),
        Task::Inside { orders } => test::vm::inside::run(&orders).map_err(Into::into),
        Task::Bench(options) => bench::run(&options),
        Task::Dist => dist::run().map_err(Into::into),
        Task::Screenshot => screenshot::run().map_err(Into::into),
        Task::Vendor => vendor::run().map_err(Into::into),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Prints an error with its whole chain of causes on one line.
fn report(error: &dyn std::error::Error) {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    eprintln!("xtask: {line}");
}

//! Lets the executable begin at `belljar_entry` (`backend/linux/src/executable/entry.rs`), where that exists. It must never decide
//! anything else about how we are built.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo:rustc-link-arg-bins=-Wl,--entry=belljar_entry");
    }
}

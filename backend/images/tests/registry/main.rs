//! Pulling from a registry that does what it wants: everything here is asked of the client as a person would ask it, over sockets, and
//! after every failure nothing is left on disk.
//!
//! | what | module |
//! |---|---|
//! | images that are as they should be, and how they arrive | `whole` |
//! | documents that lie, are too large, or are none | `documents` |
//! | layers that lie, never end, or explode | `layers` |
//! | connections that break, stall and wait | `breaks` |
//! | redirects, TLS, proxies | `ways` |
//! | logins and tokens | `logins` |
//! | what any bytes do | `fuzz` |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on should end, also in its helpers")]

#[path = "../bed/mod.rs"]
mod bed;
mod breaks;
mod documents;
mod fuzz;
mod layers;
mod logins;
mod place;
mod ways;
mod whole;

//! What travels over the REST API: request and response documents, query strings, problem documents, and how each is
//! made from the model and turned back into it. The server and the client commands share it.
//!
//! This crate must never know how a document travels or what is done with it: no HTTP library, no tokio, no clock (the
//! moment is passed in), no I/O. What comes from outside becomes a model type here or a [`Problem`] that names the
//! field. Wire types stay apart from model types so that a renamed field of the model cannot break a script.
//!
//! Start reading at [`create`], then [`container`]; [`document`] is how bytes become any of them.

pub mod container;
pub mod create;
pub mod document;
pub mod host;
pub mod inspect;
pub mod mount;
pub mod notation;
pub mod problem;
pub mod query;
pub mod record;
pub mod time;
pub mod token;
pub mod usage;

pub use container::{Container, Exit, Limits, OutOfMemory};
pub use create::CreateRequest;
pub use host::Host;
pub use mount::Mount;
pub use problem::{Kind, Problem};
pub use record::{Event, Image, LogLine};
pub use usage::Usage;

/// Under this path lies everything that this crate describes.
pub const ROOT: &str = "/api/v1";

/// The API as an OpenAPI 3.1 document, served at `/api/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

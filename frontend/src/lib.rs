//! The pages: model types in, HTML out.
//!
//! Every page is a plain struct that borrows what it shows, and renders by [`Template::render`]. Parts of a page that move
//! have a template of their own and an `id`, and are functions here as well ([`containers::row`],
//! [`container::header`], …): the server sends the *same* part again over the event stream, and `static/live.js` swaps it
//! by its id ([`live`] draws the protocol). What a page shows without JavaScript is complete.
//!
//! This crate must never know HTTP, SQL, a clock or any I/O: the time is passed in. Everything that is shown is hostile
//! text (names, log bytes, paths of a container) and goes through one escaper (`escape`); no template uses the `safe`
//! filter. The content security policy is `default-src 'self'`, so there is no inline style or script either.
//!
//! Start reading at [`frame`], which is around every page, then [`containers`], the list.

pub mod container;
pub mod containers;
pub mod create;
mod escape;
pub mod events;
pub mod figure;
pub mod frame;
pub mod host;
pub mod images;
pub mod limits;
pub mod live;
pub mod login;
pub mod problem;
pub mod settings;
pub mod volumes;
pub mod words;

pub use askama::{Error, Template};
pub use frame::{Access, Frame, Notice, Tone};

/// A part in another template: it is HTML already, and must not be escaped twice. Never made of anything but a template.
pub(crate) use askama::filters::Safe as Part;

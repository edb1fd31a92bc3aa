//! The file system's half of the two loops: [`outside`] makes and takes, [`inside`] puts together.

mod init_layer;
pub(crate) mod inside;
pub(crate) mod outside;
mod overlay;

pub(crate) use inside::Inside;
pub(crate) use outside::Outside;

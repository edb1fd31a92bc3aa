//! The database: rows in, nouns of the model out. The only SQL of Belljar.
//!
//! This crate must never know that a container runs, what an image is on disk, or who asks. A change and the events that
//! tell of it are committed in one transaction. Start reading at [`Store`].

mod access;
mod error;

use std::path::Path;

use belljar_model::{Container, ContainerId, Event, Image, ImageName, NewEvent};

pub use access::{NewSession, SecretHash, Session, Token, User};
pub use error::{Error, InsertError};

/// Which events, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Only of this container.
    pub container: Option<ContainerId>,
    /// Only with a smaller number: the next page of an earlier answer.
    pub before_id: Option<i64>,
    /// Only with a larger number: what is new since an earlier answer.
    pub after_id: Option<i64>,
    /// At most so many; never more than [`EVENTS_PAGE_MAX`].
    pub limit: u32,
}

/// Most events of one answer.
pub const EVENTS_PAGE_MAX: u32 = 1000;

impl Default for EventQuery {
    fn default() -> Self {
        Self { container: None, before_id: None, after_id: None, limit: 100 }
    }
}

/// How safe a commit is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives a kill of the server, and a power cut only once a later commit was [`Durability::Durable`].
    Deferred,
    /// It survives a power cut, as does everything before it.
    Durable,
}

/// The database of one instance. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Store {}

#[expect(unused_variables, missing_docs, reason = "the surface first, so that the layers above can be written beside it")]
impl Store {
    pub async fn open(path: &Path) -> Result<Store, Error> {
        unimplemented!()
    }
    pub async fn insert(&self, container: &Container, event: NewEvent, durability: Durability) -> Result<Event, InsertError> {
        unimplemented!()
    }
    pub async fn record(&self, container: &Container, events: Vec<NewEvent>, durability: Durability) -> Result<Vec<Event>, Error> {
        unimplemented!()
    }
    pub async fn remove(&self, id: &ContainerId, event: NewEvent) -> Result<Event, Error> {
        unimplemented!()
    }
    pub async fn load_all(&self) -> Result<Vec<Container>, Error> {
        unimplemented!()
    }
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, Error> {
        unimplemented!()
    }
    pub async fn insert_image(&self, image: &Image, event: NewEvent) -> Result<Event, Error> {
        unimplemented!()
    }
    pub async fn remove_image(&self, name: &ImageName, event: NewEvent) -> Result<Event, Error> {
        unimplemented!()
    }
    pub async fn load_images(&self) -> Result<Vec<Image>, Error> {
        unimplemented!()
    }
}

//! An image on its way from a registry: what is there of it, layer by layer.

use serde::{Deserialize, Serialize};

use crate::ImageName;

/// A pull, as it is at one moment. A stream of these is its progress: each says everything, so one that is missed is no loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// What was asked for.
    pub name: ImageName,
    /// How far it is.
    pub state: PullState,
    /// Its layers, the lowest first; none before the manifest is there.
    pub layers: Vec<PullLayer>,
    /// When it began, in Unix milliseconds.
    pub began_at_ms: i64,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum PullState {
    /// The registry is asked what the image consists of.
    Resolving,
    /// It said "not now": the next try comes by itself.
    Waiting {
        /// Why, as a clause.
        because: String,
        /// When it is tried again, in Unix milliseconds.
        until_ms: i64,
    },
    /// Layers arrive.
    Fetching,
    /// It is here, under its name.
    Done {
        /// Digest of its manifest.
        manifest_digest: String,
    },
    /// It is not, and nothing of it is left that no other image needs.
    Failed {
        /// Why: a sentence with its causes.
        problem: String,
    },
}

/// One layer of a pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullLayer {
    /// Digest of the blob in the registry.
    pub digest: String,
    /// Its size as the manifest says.
    pub total_bytes: u64,
    /// Bytes that have arrived.
    pub received_bytes: u64,
    /// What is done with it.
    pub state: PullLayerState,
}

/// What is done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullLayerState {
    /// Others come first.
    Waiting,
    /// It arrives, and is unpacked as it does.
    Fetching,
    /// It is unpacked and in its place.
    Done,
    /// It was here before.
    Present,
}

impl PullLayerState {
    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            PullLayerState::Waiting => "waiting",
            PullLayerState::Fetching => "fetching",
            PullLayerState::Done => "done",
            PullLayerState::Present => "present",
        }
    }
}

impl Pull {
    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        matches!(self.state, PullState::Done { .. } | PullState::Failed { .. })
    }

    /// Bytes that have arrived, and that there are, of all layers that were not here before.
    pub fn bytes(&self) -> (u64, u64) {
        let new = self.layers.iter().filter(|layer| layer.state != PullLayerState::Present);
        new.fold((0, 0), |(received, total), layer| (received + layer.received_bytes, total + layer.total_bytes))
    }
}

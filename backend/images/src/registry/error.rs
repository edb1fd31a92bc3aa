//! Why a pull failed, told so that a person knows whose fault it is: the reference, the login, the line, the registry, the disk.
//!
//! Nothing of a server's own words goes in here: they may be long, hold control characters, or repeat a password.

use std::io;
use std::time::Duration;

use belljar_archive::ArchiveError;

use crate::config::DocumentError;

/// A pull failed, and nothing of it is left that no other image needs.
#[derive(Debug, thiserror::Error)]
#[error("could not pull {image} from {registry}")]
pub struct PullError {
    /// What was asked for: repository with tag or digest, in the familiar form.
    pub image: String,
    /// Host of the registry, with its port where one was named.
    pub registry: String,
    /// Why.
    #[source]
    pub cause: Box<Cause>,
}

/// Whose fault it is: what an edge maps to a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The registry has no such thing.
    NotFound,
    /// It has, or not, but not for this login.
    Denied,
    /// It was asked too often.
    RateLimited,
    /// It could not be reached, or does not work.
    Unavailable,
    /// What it sent is not what it said, or is nothing that can be run.
    Invalid,
    /// This host could not keep it.
    Local,
}

impl PullError {
    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.cause.kind()
    }
}

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No such tag or digest, or no such repository.
    #[error("there is no {wanted} in {repository}")]
    NotThere {
        /// The tag, or the digest.
        wanted: String,
        /// Path of the repository.
        repository: String,
    },
    /// The registry does not know the repository.
    #[error("there is no repository {repository}")]
    NoRepository {
        /// Its path.
        repository: String,
    },
    /// The manifest names a blob that the registry does not have.
    #[error("the registry does not have {what}, which the image's manifest names")]
    NoBlob {
        /// Which.
        what: String,
    },
    /// There is an image, but for none of this platform.
    #[error("there is none for this platform")]
    NoPlatform {
        /// Which is wanted, and which there are.
        #[source]
        source: DocumentError,
    },
    /// The image says that it is for another platform.
    #[error("it is for {is}, and this should be for {wanted}")]
    OtherPlatform {
        /// `linux/amd64`.
        wanted: String,
        /// As the image says.
        is: String,
    },
    /// Nobody is logged in.
    #[error("{repository} needs a login, or does not exist")]
    LoginNeeded {
        /// Path of the repository.
        repository: String,
    },
    /// The login that was given is not taken.
    #[error("the login was refused")]
    LoginRefused,
    /// There is a login, and it is not enough.
    #[error("there is no repository {repository}, or this login has no right to it")]
    Denied {
        /// Path of the repository.
        repository: String,
    },
    /// The registry was asked too often.
    #[error("the registry was asked too often{}", told(*.after))]
    RateLimited {
        /// After how long it wants to be asked again.
        after: Option<Duration>,
    },
    /// The registry does not work just now.
    #[error("the registry answered {status} to {what}{}", told(*.after))]
    Busy {
        /// What was asked for.
        what: String,
        /// The answer's status.
        status: u16,
        /// After how long it wants to be asked again.
        after: Option<Duration>,
    },
    /// An answer that has no meaning here.
    #[error("the registry answered {status} to {what}")]
    Status {
        /// What was asked for.
        what: String,
        /// The answer's status.
        status: u16,
    },
    /// The host's name could not be looked up.
    #[error("could not find the address of {host}")]
    Resolve {
        /// Its name.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("could not connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It does not prove who it is, or speaks no TLS.
    #[error("could not agree on TLS with {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The proxy does not lead there.
    #[error("the proxy {proxy} does not lead to {host}: {problem}")]
    Proxy {
        /// The proxy's host and port.
        proxy: String,
        /// Where it should lead.
        host: String,
        /// Why not.
        problem: String,
    },
    /// The connection ended in the middle.
    #[error("the connection to {host} broke")]
    Broken {
        /// Host and port.
        host: String,
        /// How.
        #[source]
        source: hyper::Error,
    },
    /// The connection ended before everything was there, and nobody said how much that is.
    #[error("the connection to {host} ended too early")]
    Ended {
        /// Host and port.
        host: String,
    },
    /// Nothing, or next to nothing, came for long.
    #[error("{host} sent nothing for {seconds} seconds")]
    Stalled {
        /// Host and port.
        host: String,
        /// How long.
        seconds: u64,
    },
    /// It takes longer than anybody waits.
    #[error("it took more than {hours} hours")]
    Patience {
        /// How long.
        hours: u64,
    },
    /// Something is larger than a limit allows.
    #[error("{what} has more than {max_bytes} bytes, which is the limit")]
    TooLarge {
        /// What.
        what: String,
        /// The limit.
        max_bytes: u64,
    },
    /// Something has another size than was said.
    #[error("{what} should have {said} bytes and has {has}")]
    Size {
        /// What.
        what: String,
        /// As the manifest, or who asked, says.
        said: u64,
        /// As it is: `more`, `only 12`.
        has: String,
    },
    /// Something has another content than was said.
    #[error("{what} should have the digest {said} and has {is}")]
    Digest {
        /// What.
        what: String,
        /// As was said.
        said: String,
        /// As it is.
        is: String,
    },
    /// Something changed between two tries.
    #[error("{what} changed while it was fetched")]
    Changed {
        /// What.
        what: String,
    },
    /// Something is of a kind that cannot be run.
    #[error("{what} is {kind}")]
    Media {
        /// What.
        what: String,
        /// What it is, and why that is no good.
        kind: String,
    },
    /// It leads where it must not.
    #[error("the registry leads to {to}, {problem}")]
    Led {
        /// Scheme, host and port; never a path, which may hold a signature.
        to: String,
        /// Why that is refused.
        problem: String,
    },
    /// What it says about logins makes no sense.
    #[error("the registry asks for a login in a way that is refused: {problem}")]
    Challenge {
        /// Why.
        problem: &'static str,
    },
    /// A document is not what it should be.
    #[error("what the registry sent is refused")]
    Document {
        /// Which, and why.
        #[source]
        source: DocumentError,
    },
    /// A list of images holds a list of images, and so on.
    #[error("it is a list in a list in a list, more than {max} deep")]
    Depth {
        /// The limit.
        max: usize,
    },
    /// A layer's archive is refused.
    #[error("the layer {digest} is refused")]
    Layer {
        /// Its digest in the registry.
        digest: String,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// This host could not keep a layer.
    #[error("could not keep the layer {digest}")]
    Keep {
        /// Its digest in the registry.
        digest: String,
        /// What the kernel said.
        #[source]
        source: ArchiveError,
    },
    /// Work on another thread ended without a word.
    #[error("unpacking the layer {digest} was given up")]
    GivenUp {
        /// Its digest in the registry.
        digest: String,
    },
}

fn told(after: Option<Duration>) -> String {
    after.map_or_else(String::new, |after| format!(", and wants to be asked again in {} seconds", after.as_secs()))
}

impl Cause {
    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotThere { .. } | Self::NoRepository { .. } | Self::NoPlatform { .. } | Self::OtherPlatform { .. } => Kind::NotFound,
            Self::LoginNeeded { .. } | Self::LoginRefused | Self::Denied { .. } => Kind::Denied,
            Self::RateLimited { .. } => Kind::RateLimited,
            Self::Busy { .. }
            | Self::Status { .. }
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Proxy { .. }
            | Self::Broken { .. }
            | Self::Ended { .. }
            | Self::Stalled { .. }
            | Self::Patience { .. } => Kind::Unavailable,
            Self::NoBlob { .. }
            | Self::TooLarge { .. }
            | Self::Size { .. }
            | Self::Digest { .. }
            | Self::Changed { .. }
            | Self::Media { .. }
            | Self::Led { .. }
            | Self::Challenge { .. }
            | Self::Document { .. }
            | Self::Depth { .. }
            | Self::Layer { .. } => Kind::Invalid,
            Self::Keep { .. } | Self::GivenUp { .. } => Kind::Local,
        }
    }

    /// Whether another try may end better.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Busy { .. } | Self::Broken { .. } | Self::Ended { .. } | Self::Stalled { .. } => true,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Proxy { .. } => true,
            // A certificate that is no good stays so; a line that broke meanwhile does not.
            Self::Tls { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            _ => false,
        }
    }
}

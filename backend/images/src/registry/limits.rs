//! What a registry may cost, in one place: bytes, time, tries, and how much at once. Start at the one whose name an error tells.

use std::time::Duration;

/// Most bytes of a layer as it is sent: what an archive may have after decompression, so no real one is near it.
pub(super) const BLOB_BYTES_MAX: u64 = 64 << 30;
/// Most bytes of the answer that holds a token.
pub(super) const TOKEN_ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Most bytes of a token: with it a head still fits what servers take.
pub(super) const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Most bytes of an answer that says why not. Its words are not shown, only its code is looked at.
pub(super) const ERROR_BYTES_MAX: u64 = 64 << 10;
/// Most bytes of one `WWW-Authenticate` that are looked at.
pub(super) const CHALLENGE_BYTES_MAX: usize = 4096;
/// Most bytes of an answer's head, and of what is read at once.
pub(super) const BUFFER_BYTES_MAX: usize = 128 << 10;
/// Most bytes of a proxy's answer to CONNECT.
pub(super) const PROXY_HEAD_BYTES_MAX: usize = 8 << 10;

/// Most redirects of one request. Registries need one, to where their blobs lie.
pub(super) const REDIRECTS_MAX: usize = 5;
/// Most addresses of a name that are tried.
pub(super) const ADDRESSES_MAX: usize = 8;
/// Most connections that are kept for the next request.
pub(super) const CONNECTIONS_KEPT: usize = 16;
/// How long one is kept: servers close theirs after a minute or so.
pub(super) const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(30);

/// Most layers that come from one registry at once, over all pulls: enough to fill a line and two processors.
pub(super) const LAYERS_AT_ONCE_MAX: usize = 3;
/// Most pieces of a layer between the network and the unpacker, of [`BUFFER_BYTES_MAX`] at most: 2 MiB for each layer on its way.
pub(super) const PIECES_MAX: usize = 16;

/// How long a name may take to be looked up.
pub(super) const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// How long one address may take to accept a connection.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long the agreement on TLS may take.
pub(super) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take on loopback, before it is taken for a plain HTTP server that waits for the end of a line.
pub(super) const LOOPBACK_HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);
/// How long a server may think before its answer begins.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long nothing (or less than [`SLOW_BYTES`]) may arrive before the connection counts as broken.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Bytes that have to arrive within [`STALL_LIMIT`]: a server that sends one now and then holds a place for ever.
pub(super) const SLOW_BYTES: u64 = 4 << 10;
/// How long a pull may take: 20 GB over a line of 2 Mbit/s.
pub(super) const PULL_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Most tries in a row of which none brought anything.
pub(super) const TRIES_MAX: u32 = 5;
/// Most tries of one request altogether, also where each brought something.
pub(super) const TRIES_TOTAL_MAX: u32 = 100;
/// Bytes that make a try one that brought something.
pub(super) const BROUGHT_BYTES: u64 = 64 << 10;
/// Pause before the second try; each further one is twice as long.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause that is not asked for by the registry.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause that a registry may ask for; where it asks for more, the pull fails at once and says so.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Most pauses that a registry may ask for, one after the other.
pub(super) const WAITS_MAX: u32 = 10;
/// Most that is waited altogether because a registry asked for it.
pub(super) const WAITED_MAX: Duration = Duration::from_secs(30 * 60);

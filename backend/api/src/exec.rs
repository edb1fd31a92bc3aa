//! A further program in a running container: what is asked, and what came of it.

use std::collections::BTreeMap;

use belljar_model::container::{check_command, check_env};
use belljar_model::exec::{Exec, Ran, TIME_MS_DEFAULT};
use belljar_model::mount::absolute_path;
use belljar_model::{Invalid, Signal};
use serde::{Deserialize, Serialize};

/// The body of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables beside the container's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `user[:group]`; the container's own where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Working folder; the container's own where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Milliseconds after which it is killed, with what it started; a minute where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
}

impl ExecRequest {
    /// The model's exec, with everything checked that can be without looking at the container.
    pub fn into_model(self) -> Result<Exec, Invalid> {
        check_command(&self.command)?;
        check_env(&self.env)?;
        if let Some(workdir) = &self.workdir {
            absolute_path("workdir", workdir)?;
        }
        let exec = Exec {
            command: self.command,
            env: self.env,
            user: self.user.map(|text| text.parse()).transpose()?,
            workdir: self.workdir,
            time_limit_ms: self.time_limit_ms.unwrap_or(TIME_MS_DEFAULT),
        };
        exec.check()?;
        Ok(exec)
    }
}

/// What came of it, when it was waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecAnswer {
    /// Its exit code; `null` where a signal ended it.
    pub code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
    /// What it wrote; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote on its error output.
    pub stderr: String,
    /// Whether it wrote more than an answer holds.
    pub truncated: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl From<Ran> for ExecAnswer {
    fn from(ran: Ran) -> Self {
        let Ran { code, signal, timed_out, stdout, stderr, truncated, took_ms } = ran;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code,
            signal: signal.map(|signal: Signal| signal.to_string()),
            timed_out,
            stdout: text(stdout),
            stderr: text(stderr),
            truncated,
            took_ms,
        }
    }
}

/// What one frame of a stream carries. A stream is frames one after the other, each one byte of kind, four of length
/// (big-endian) and its payload: any bytes pass as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A piece of its output.
    Stdout = 1,
    /// A piece of its error output.
    Stderr = 2,
    /// It ended: an [`ExecAnswer`] as JSON, with empty outputs. Nothing follows.
    Ended = 3,
    /// It could not be followed to its end: a [`crate::Problem`] as JSON. Nothing follows.
    Failed = 4,
}

impl FrameKind {
    const ALL: [FrameKind; 4] = [FrameKind::Stdout, FrameKind::Stderr, FrameKind::Ended, FrameKind::Failed];
}

/// The media type of such a stream.
pub const STREAM_TYPE: &str = "application/vnd.belljar.exec-stream";
/// Largest payload of a frame that is read, in bytes.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Writes one frame.
pub fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(5 + payload.len());
    frame.push(kind as u8);
    frame.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(payload);
    frame
}

/// Takes the first whole frame off what was read so far; `None` where it is not whole yet, an error where it is none.
pub fn take_frame(read: &mut Vec<u8>) -> Result<Option<(FrameKind, Vec<u8>)>, Invalid> {
    let refuse = |problem: &str| Err(Invalid::new("stream", problem));
    let Some((head, rest)) = read.split_first_chunk::<5>() else { return Ok(None) };
    let [kind, length @ ..] = *head;
    let Some(kind) = FrameKind::ALL.into_iter().find(|known| *known as u8 == kind) else { return refuse("has a frame of no known kind") };
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return refuse("has a frame that is too long");
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let payload = payload.to_vec();
    read.drain(..5 + length);
    Ok(Some((kind, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    #[test]
    fn an_exec_is_refused_by_its_wrong_field() {
        let read = |body: &str| parse::<ExecRequest>(body.as_bytes()).expect(body).into_model().map_err(|invalid| invalid.field);
        assert_eq!(read(r#"{"command":["id"]}"#).map(|exec| exec.time_limit_ms), Ok(TIME_MS_DEFAULT));
        for (body, field) in [
            (r#"{"command":[]}"#, "command"),
            (r#"{"command":["a"],"env":{"A=":"b"}}"#, "env"),
            (r#"{"command":["a"],"user":"99999999999"}"#, "user"),
            (r#"{"command":["a"],"workdir":"x"}"#, "workdir"),
            (r#"{"command":["a"],"time_limit_ms":0}"#, "time_limit_ms"),
        ] {
            assert_eq!(read(body).err().as_deref(), Some(field), "{body}");
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = frame(FrameKind::Stdout, b"a\0\xff");
        stream.extend(frame(FrameKind::Stderr, b""));
        stream.extend(frame(FrameKind::Ended, b"{}"));
        let (mut read, mut frames) = (Vec::new(), Vec::new());
        for byte in stream {
            read.push(byte);
            frames.extend(take_frame(&mut read).expect("a frame"));
        }
        assert_eq!(frames, [(FrameKind::Stdout, b"a\0\xff".to_vec()), (FrameKind::Stderr, Vec::new()), (FrameKind::Ended, b"{}".to_vec())]);
        assert!(read.is_empty());
        for wrong in [[9, 0, 0, 0, 0], [1, 255, 255, 255, 255]] {
            assert!(take_frame(&mut wrong.to_vec()).is_err(), "{wrong:?}");
        }
    }
}

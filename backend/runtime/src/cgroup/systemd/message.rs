//! D-Bus messages as bytes (the D-Bus specification's *Message Protocol*), as far as systemd is spoken to: values are
//! aligned by their kind, a message is a head of typed fields and a body.
//!
//! What comes in is checked as it is read: lengths against what is there, text as text, depth. Only little-endian is spoken.

/// A value on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `u`
    U32(u32),
    /// `i`
    I32(i32),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`, with the signature of its elements.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

/// Largest message that is read; systemd's answers are a few hundred bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of values.
const DEPTH: u8 = 16;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks something.
    Call = 1,
    /// Answers it.
    Return = 2,
    /// Refuses it.
    Error = 3,
    /// Tells something to everybody.
    Signal = 4,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its number, counted by its sender from 1.
    pub serial: u32,
    /// Number of the call that it answers.
    pub reply_to: Option<u32>,
    /// Object that is meant.
    pub path: Option<String>,
    /// Interface that the member is of.
    pub interface: Option<String>,
    /// Method or signal.
    pub member: Option<String>,
    /// Name of the error.
    pub error: Option<String>,
    /// To whom; nobody on a direct connection.
    pub destination: Option<String>,
    /// Its values.
    pub body: Vec<Value>,
}

impl Value {
    /// Text, from anything that is some.
    pub fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into())
    }

    /// A list of texts.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Path(text) => Some(text),
            _ => None,
        }
    }

    fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::U32(_) => "u".to_owned(),
            Value::I32(_) => "i".to_owned(),
            Value::U64(_) => "t".to_owned(),
            Value::Text(_) => "s".to_owned(),
            Value::Path(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", fields.iter().map(Value::signature).collect::<String>()),
            Value::Variant(_) => "v".to_owned(),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Value::Byte(byte) => bytes.push(*byte),
            Value::Bool(yes) => Value::U32(u32::from(*yes)).write(bytes),
            Value::U32(number) => {
                align(bytes, 4);
                bytes.extend(number.to_le_bytes());
            }
            Value::I32(number) => {
                align(bytes, 4);
                bytes.extend(number.to_le_bytes());
            }
            Value::U64(number) => {
                align(bytes, 8);
                bytes.extend(number.to_le_bytes());
            }
            Value::Text(text) | Value::Path(text) => {
                Value::U32(text.len() as u32).write(bytes);
                bytes.extend(text.bytes());
                bytes.push(0);
            }
            Value::Signature(text) => {
                bytes.push(text.len() as u8);
                bytes.extend(text.bytes());
                bytes.push(0);
            }
            Value::Array(element, values) => {
                Value::U32(0).write(bytes);
                let length_at = bytes.len() - 4;
                // The length counts from after the padding of the first element, which is there even without one.
                align(bytes, alignment(element.bytes().next().unwrap_or(b'y')));
                let begin = bytes.len();
                values.iter().for_each(|value| value.write(bytes));
                let length = (bytes.len() - begin) as u32;
                bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
            Value::Struct(fields) => {
                align(bytes, 8);
                fields.iter().for_each(|field| field.write(bytes));
            }
            Value::Variant(value) => {
                Value::Signature(value.signature()).write(bytes);
                value.write(bytes);
            }
        }
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn alignment(kind: u8) -> usize {
    match kind {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

impl Message {
    /// A call without values.
    pub fn call(destination: Option<&str>, path: &str, interface: &str, member: &str) -> Self {
        Self {
            kind: Kind::Call,
            serial: 0,
            reply_to: None,
            path: Some(path.to_owned()),
            interface: Some(interface.to_owned()),
            member: Some(member.to_owned()),
            error: None,
            destination: destination.map(str::to_owned),
            body: Vec::new(),
        }
    }

    /// The message as it goes over the socket.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.body.iter().for_each(|value| value.write(&mut body));
        let field = |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let text = |code: u8, text: &Option<String>| text.clone().map(|text| field(code, Value::Text(text)));
        let signature: String = self.body.iter().map(Value::signature).collect();
        let fields = [
            self.path.clone().map(|path| field(1, Value::Path(path))),
            text(2, &self.interface),
            text(3, &self.member),
            text(4, &self.error),
            self.reply_to.map(|serial| field(5, Value::U32(serial))),
            text(6, &self.destination),
            (!signature.is_empty()).then(|| field(8, Value::Signature(signature))),
        ];
        let mut bytes = vec![b'l', self.kind as u8, 0, 1];
        Value::U32(body.len() as u32).write(&mut bytes);
        Value::U32(self.serial).write(&mut bytes);
        Value::Array("(yv)".to_owned(), fields.into_iter().flatten().collect()).write(&mut bytes);
        align(&mut bytes, 8);
        bytes.extend(body);
        bytes
    }

    /// The first message of `bytes` and its length; `Ok(None)` where it is not there whole yet.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(head) = bytes.get(..16) else { return Ok(None) };
        let word = |at: usize| head[at..at + 4].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        if head[0] != b'l' || head[3] != 1 {
            return Err(Malformed);
        }
        let kind = match head[1] {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(Malformed),
        };
        let (body_length, fields_length) = (word(4), word(12));
        if body_length > MESSAGE_BYTES_MAX || fields_length > MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        let body_at = (16 + fields_length).next_multiple_of(8);
        let Some(whole) = bytes.get(..body_at + body_length) else { return Ok(None) };
        let mut message = Self { kind, serial: word(8) as u32, ..Self::call(None, "", "", "") };
        (message.path, message.interface, message.member) = (None, None, None);
        let mut signature = String::new();
        let mut reader = Reader { bytes: &whole[..16 + fields_length], at: 12 };
        let fields = reader.value(&mut "a(yv)".bytes().peekable(), 0)?;
        for (code, value) in fields_of(fields) {
            match (code, value) {
                (1, Value::Path(path)) => message.path = Some(path),
                (2, Value::Text(text)) => message.interface = Some(text),
                (3, Value::Text(text)) => message.member = Some(text),
                (4, Value::Text(text)) => message.error = Some(text),
                (5, Value::U32(serial)) => message.reply_to = Some(serial),
                (6, Value::Text(text)) => message.destination = Some(text),
                (8, Value::Signature(text)) => signature = text,
                _ => {}
            }
        }
        let mut reader = Reader { bytes: &whole[body_at..], at: 0 };
        let mut kinds = signature.bytes().peekable();
        while kinds.peek().is_some() {
            message.body.push(reader.value(&mut kinds, 0)?);
        }
        Ok(Some((message, whole.len())))
    }
}

/// What came is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

fn fields_of(fields: Value) -> Vec<(u8, Value)> {
    let Value::Array(_, fields) = fields else { return Vec::new() };
    let field = |field| match field {
        Value::Struct(mut pair) => match (pair.pop(), pair.pop()) {
            (Some(Value::Variant(value)), Some(Value::Byte(code))) => Some((code, *value)),
            _ => None,
        },
        _ => None,
    };
    fields.into_iter().filter_map(field).collect()
}

type Kinds<'a> = std::iter::Peekable<std::str::Bytes<'a>>;

/// Reads values; alignment counts from the beginning of `bytes`, which is aligned itself.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, length: usize) -> Result<u64, Malformed> {
        self.at = self.at.next_multiple_of(length);
        Ok(self.take(length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, length: usize) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?.to_owned();
        if self.take(1)? == [0] { Ok(text) } else { Err(Malformed) }
    }

    fn value(&mut self, kinds: &mut Kinds<'_>, depth: u8) -> Result<Value, Malformed> {
        if depth > DEPTH {
            return Err(Malformed);
        }
        Ok(match kinds.next().ok_or(Malformed)? {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => Value::Bool(self.number(4)? == 1),
            b'n' | b'q' => Value::U32(self.number(2)? as u32),
            b'i' => Value::I32(self.number(4)? as u32 as i32),
            b'u' | b'h' => Value::U32(self.number(4)? as u32),
            b'x' | b't' | b'd' => Value::U64(self.number(8)?),
            b's' => {
                let length = self.number(4)? as usize;
                Value::Text(self.text(length)?)
            }
            b'o' => {
                let length = self.number(4)? as usize;
                Value::Path(self.text(length)?)
            }
            b'g' => {
                let length = self.number(1)? as usize;
                Value::Signature(self.text(length)?)
            }
            b'v' => {
                let length = self.number(1)? as usize;
                let signature = self.text(length)?;
                Value::Variant(Box::new(self.value(&mut signature.bytes().peekable(), depth + 1)?))
            }
            b'a' => self.array(kinds, depth)?,
            b'(' => Value::Struct(self.fields(kinds, b')', depth)?),
            b'{' => Value::Struct(self.fields(kinds, b'}', depth)?),
            _ => return Err(Malformed),
        })
    }

    fn fields(&mut self, kinds: &mut Kinds<'_>, end: u8, depth: u8) -> Result<Vec<Value>, Malformed> {
        self.at = self.at.next_multiple_of(8);
        let mut fields = Vec::new();
        while kinds.next_if_eq(&end).is_none() {
            fields.push(self.value(kinds, depth + 1)?);
        }
        Ok(fields)
    }

    fn array(&mut self, kinds: &mut Kinds<'_>, depth: u8) -> Result<Value, Malformed> {
        let element = element(kinds)?;
        let length = self.number(4)? as usize;
        self.at = self.at.next_multiple_of(alignment(element.bytes().next().ok_or(Malformed)?));
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(Malformed)?;
        let mut values = Vec::new();
        while self.at < end {
            let before = self.at;
            values.push(self.value(&mut element.bytes().peekable(), depth + 1)?);
            if self.at == before {
                return Err(Malformed);
            }
        }
        Ok(Value::Array(element, values))
    }
}

/// Takes one whole type from a signature.
fn element(kinds: &mut Kinds<'_>) -> Result<String, Malformed> {
    let mut text = String::new();
    let mut open = 0;
    loop {
        let kind = kinds.next().ok_or(Malformed)?;
        text.push(char::from(kind));
        match kind {
            b'(' | b'{' => open += 1,
            b')' | b'}' => open -= 1,
            b'a' => continue,
            _ => {}
        }
        if open == 0 {
            return Ok(text);
        }
        if open < 0 || text.len() > 255 {
            return Err(Malformed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_bytes_that_the_reference_library_sends() {
        // `org.freedesktop.DBus.Hello` as libdbus 1.14 writes it, with the fields in our order.
        let mut hello = Message::call(Some("org.freedesktop.DBus"), "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello");
        hello.serial = 1;
        let mut expected = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00".to_vec();
        expected.extend(b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00");
        expected.extend(b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00");
        expected.extend(b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00");
        expected.extend(b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00");
        assert_eq!(hello.encode(), expected);
    }

    #[test]
    fn every_kind_of_value_comes_back_and_no_cut_message_is_taken_for_a_whole_one() {
        let mut message = Message::call(None, "/a", "b.c", "D");
        message.body = vec![
            Value::Byte(7),
            Value::U64(u64::MAX),
            Value::Bool(true),
            Value::I32(-5),
            Value::Array("(sv)".into(), vec![Value::Struct(vec![Value::text("x"), Value::Variant(Box::new(Value::U64(9)))])]),
            Value::Array("(sa(sv))".into(), vec![]),
            Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)]),
            Value::Signature("a{sv}".into()),
            Value::Path("/x".into()),
        ];
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes), Ok(Some((message, bytes.len()))));
        for length in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused_and_never_followed() {
        let mut message = Message::call(None, "/a", "b.c", "D");
        message.body = vec![Value::Array("s".into(), vec![Value::text("hello")]), Value::text("there")];
        let good = message.encode();
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff, b'a', b'(', b'v'] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                // Whatever comes of it, it ends.
                let _ = Message::decode(&bytes);
            }
        }
        assert_eq!(Message::decode(b"B\x01\x00\x01aaaabbbbcccc"), Err(Malformed));
        assert_eq!(Message::decode(b"l\x01\x00\x01\xff\xff\xff\xffbbbbcccc"), Err(Malformed));
    }
}

//! What comes from outside, made harmless and visible: the one way from text into HTML.
//!
//! HTML's own five characters are not all that hurts. A character that turns the direction of writing makes `exe.txt` of
//! `txt.exe` (CVE-2021-42574), and an escape sequence in a log should be seen, not guessed. Both are shown as signs.

use std::fmt::{self, Write};

use askama::filters::Escaper;

/// The escaper of all templates (`frontend/askama.toml`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let mut written = 0;
        for (index, letter) in text.char_indices() {
            let Some(sign) = sign(letter) else { continue };
            dest.write_str(&text[written..index])?;
            match sign {
                Sign::Entity(entity) => dest.write_str(entity)?,
                Sign::Letter(letter) => dest.write_char(letter)?,
            }
            written = index + letter.len_utf8();
        }
        dest.write_str(&text[written..])
    }
}

/// What stands for a character that must not stand there itself.
enum Sign {
    Entity(&'static str),
    Letter(char),
}

fn sign(letter: char) -> Option<Sign> {
    Some(match letter {
        '"' => Sign::Entity("&#34;"),
        '&' => Sign::Entity("&#38;"),
        '\'' => Sign::Entity("&#39;"),
        '<' => Sign::Entity("&#60;"),
        '>' => Sign::Entity("&#62;"),
        '\t' | '\n' | '\r' => return None,
        // Unicode has a picture for each control character of ASCII, in the same order.
        '\0'..='\x1f' => Sign::Letter(char::from_u32(0x2400 + u32::from(letter)).unwrap_or(char::REPLACEMENT_CHARACTER)),
        '\x7f' => Sign::Letter('\u{2421}'),
        '\u{80}'..='\u{9f}' => Sign::Letter(char::REPLACEMENT_CHARACTER),
        // The characters of UAX #9 that turn the direction of what follows.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Sign::Letter(char::REPLACEMENT_CHARACTER)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut html = String::new();
        Visible.write_escaped_str(&mut html, text).expect("a string can be written");
        html
    }

    #[test]
    fn nothing_leaves_its_element_or_its_attribute() {
        assert_eq!(escaped("\"><b x='&'>"), "&#34;&#62;&#60;b x=&#39;&#38;&#39;&#62;");
    }

    #[test]
    fn what_cannot_be_seen_or_turns_the_text_around_becomes_a_sign() {
        assert_eq!(escaped("\u{1b}[31m\0\x7f"), "\u{241b}[31m\u{2400}\u{2421}");
        assert_eq!(escaped("cod\u{202e}txt.exe \u{9b}1m"), "cod\u{fffd}txt.exe \u{fffd}1m");
    }

    #[test]
    fn ordinary_text_of_any_language_stays() {
        for text in ["", "a\tb\r\n", "Überraschung", "日本語", "שלום", "👩‍👩‍👧"] {
            assert_eq!(escaped(text), text);
        }
    }
}

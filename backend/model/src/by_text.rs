//! Types that are a text on the wire and in the database: written by `Display`, read by `FromStr`, whose refusal is the field's.

/// Makes a type convertible to a text and from one, for serde's `into` and `try_from`.
macro_rules! by_text {
    ($($type:ty),+ $(,)?) => {$(
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::Invalid;

            fn try_from(text: String) -> Result<Self, $crate::Invalid> {
                text.parse()
            }
        }
    )+};
}

pub(crate) use by_text;

//! Words of the definitions: strings with a rule.

/// Defines a word of the definition: a string with a rule.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $right:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A text that follows the rule; else what is wrong with it.
            pub fn new(text: &str) -> Result<Self, String> {
                if Self::is(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(format!(concat!("{:?} is not ", $right), text))
                }
            }

            /// As written.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether a text follows the rule.
            fn is(text: &str) -> bool {
                let rule: fn(&str) -> bool = $rule;
                rule(text)
            }
        }

        // By a visitor: only an error that comes from there has the word's own line and column.
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;

                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($right)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Word)
            }
        }
    };
}

pub(super) use word;

//! Constraints on generated text: JSON schemas, regular expressions and grammars, compiled against
//! one model's vocabulary.

mod compile;
mod limits;
mod vocabulary;

pub use compile::{Grammar, Kind, Matcher};
pub use vocabulary::Vocabulary;

//! Constraints on generated text: JSON schemas, regular expressions and grammars, compiled against
//! one model's vocabulary.

mod account;
mod compile;
mod gbnf;
mod gbnf_parser;
mod limits;
mod matcher;
mod vocabulary;

pub use compile::{Grammar, Kind};
pub use matcher::Matcher;
pub use vocabulary::Vocabulary;

//! The pre-tokenizer of a file, with its regular expressions under a limit. The library's own stop
//! silently when a pattern backtracks too much, and the rest of the text would be tokenized
//! otherwise than the file says.

use std::time::{Duration, Instant};

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::tokenizer::pattern::{Invert, Pattern};
use tokenizers::{Offsets, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

use crate::failure::{Failure, Outcome};

/// A pattern that matches reasonably backtracks about once a byte; 128 KiB of spaces need 131,072
/// steps.
const BACKTRACK_LIMIT: usize = 2_000_000;
/// Over all matches in one piece of text; 1 MiB of prose takes 0.1 s.
const SPLIT_TIME: Duration = Duration::from_secs(2);

pub enum PreTokenize {
    Library(Box<PreTokenizerWrapper>),
    Split { regex: Box<Regex>, behavior: SplitDelimiterBehavior, invert: bool },
    Sequence(Vec<PreTokenize>),
}

impl PreTokenize {
    /// From the file's `pre_tokenizer`. Compiling a pattern with Unicode classes takes 1 ms, so the
    /// library does not get to see the ones that are run here.
    pub fn new(part: Value) -> Outcome<Self> {
        let parts = part.get("pretokenizers").and_then(Value::as_array);
        if let (Some("Sequence"), Some(parts)) = (part["type"].as_str(), parts) {
            return Ok(Self::Sequence(
                parts.iter().cloned().map(Self::new).collect::<Outcome<_>>()?,
            ));
        }
        if let (Some("Split"), Some(pattern)) =
            (part["type"].as_str(), part["pattern"]["Regex"].as_str())
        {
            let regex = RegexBuilder::new(pattern).backtrack_limit(BACKTRACK_LIMIT).build();
            return Ok(Self::Split {
                regex: Box::new(regex.map_err(wrong)?),
                behavior: serde_json::from_value(part["behavior"].clone()).map_err(wrong)?,
                invert: part["invert"].as_bool().ok_or_else(|| wrong("invert is missing"))?,
            });
        }
        Ok(Self::Library(Box::new(serde_json::from_value(part).map_err(wrong)?)))
    }

    pub fn apply(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        match self {
            Self::Library(wrapper) => wrapper.pre_tokenize(text),
            Self::Sequence(parts) => parts.iter().try_for_each(|part| part.apply(text)),
            Self::Split { regex, behavior, invert } => {
                let deadline = Instant::now() + SPLIT_TIME;
                text.split(|_, piece| {
                    let pattern = Limited { regex, deadline };
                    if *invert {
                        piece.split(Invert(pattern), *behavior)
                    } else {
                        piece.split(pattern, *behavior)
                    }
                })
            }
        }
    }
}

fn wrong(reason: impl std::fmt::Display) -> Failure {
    Failure::corrupt(format!("tokenizer.json: pre_tokenizer: {reason}"))
}

struct Limited<'a> {
    regex: &'a Regex,
    deadline: Instant,
}

impl Pattern for Limited<'_> {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let mut splits = Vec::new();
        let mut end = 0;
        for (count, found) in self.regex.find_iter(inside).enumerate() {
            let found = found.map_err(|e| format!("the pre-tokenizer's regex gave up: {e}"))?;
            if found.start() > end {
                splits.push(((end, found.start()), false));
            }
            splits.push(((found.start(), found.end()), true));
            end = found.end();
            if count % 64 == 0 && Instant::now() > self.deadline {
                return Err("the pre-tokenizer's regex takes too long on this text".into());
            }
        }
        if end < inside.len() {
            splits.push(((end, inside.len()), false));
        }
        Ok(splits)
    }
}

//! One text on its way through a grammar.

use llguidance::TokenParser;

use super::account::Share;
use super::limits::MAX_MATCHER_BYTES;
use crate::failure::{Failure, Outcome};
use crate::ffi::caught;
use crate::memory::weigh;

pub struct Matcher {
    /// Of what all of this holds.
    share: Share,
    parser: TokenParser,
    /// The parser as it was before the first token; it shares the lexer's caches with `parser`.
    start: TokenParser,
    /// Why it cannot go on. After a panic nothing of the parser is to be trusted.
    failed: Option<String>,
}

impl Matcher {
    /// `bytes` is what the parser holds.
    pub fn new(mut parser: TokenParser, mut share: Share, bytes: isize) -> Self {
        let begin = || {
            parser.start_without_prompt();
            parser.clone()
        };
        let (start, more) = weigh(begin);
        share.add(bytes + more);
        Self { share, start, parser, failed: None }
    }

    /// One before its first token that shares nothing, with a copy of the caches.
    pub fn independent(&self) -> Self {
        let ((start, parser), bytes) = weigh(|| {
            let start = self.start.deep_clone();
            (start.clone(), start)
        });
        let mut share = Share::new(self.share.account().clone());
        share.add(bytes);
        Self { share, start, parser, failed: None }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Goes back to before the first token, with the caches as they are.
    pub fn forget_text(&mut self) {
        let ((), bytes) = weigh(|| self.parser = self.start.clone());
        self.share.add(bytes);
    }

    /// Bytes of the lexer's caches; none of a matcher that failed, which nobody should start from.
    pub fn learned(&mut self) -> Option<usize> {
        self.guarded(|parser| Ok(parser.parser.lexer_stats().num_bytes)).ok()
    }

    /// Writes the tokens allowed next, one bit each; beyond the vocabulary none.
    pub fn fill(&mut self, bits: &mut [u32]) -> Outcome<()> {
        self.guarded(|parser| {
            let mask = if parser.stopped() {
                parser.token_env.tok_trie().eos_token_set()
            } else {
                parser.compute_mask()?
            };
            let words = mask.as_slice();
            bits.fill(0);
            let count = bits.len().min(words.len());
            bits[..count].copy_from_slice(&words[..count]);
            Ok(())
        })
    }

    /// Takes the sampled token; true when no token can follow.
    pub fn consume(&mut self, id: i32) -> Outcome<bool> {
        self.check_size(MAX_MATCHER_BYTES)?;
        self.guarded(|parser| {
            let dropped = parser.consume_token(id as u32)?;
            anyhow::ensure!(dropped == 0, "tokens cannot be taken back");
            parser.check_stop()?;
            Ok(parser.stopped())
        })
    }

    /// What the lexer has cached grows with the text.
    pub fn check_size(&self, limit: usize) -> Outcome<()> {
        self.share.check(limit)
    }

    fn guarded<T>(
        &mut self,
        body: impl FnOnce(&mut TokenParser) -> anyhow::Result<T>,
    ) -> Outcome<T> {
        if let Some(message) = &self.failed {
            return Err(Failure::invalid(message.clone()));
        }
        let (result, bytes) = weigh(|| caught(|| body(&mut self.parser)));
        self.share.add(bytes);
        let failure = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => refused(&error.to_string()),
            Err(panic) => too_complex(&panic),
        };
        self.failed = Some(failure.message.clone());
        Err(failure)
    }
}

/// The first line of the library's reason; it adds more for its own developers.
pub fn refused(message: &str) -> Failure {
    if message.starts_with("panic") {
        return too_complex(message);
    }
    let reason: String = message.lines().next().unwrap_or_default().chars().take(300).collect();
    Failure::invalid(match reason.as_str() {
        "NoExtensionBias" => "no token can follow",
        reason => reason,
    })
}

/// The library asserts its own limits here and there.
pub fn too_complex(panic: &str) -> Failure {
    let reason: String = panic.lines().next().unwrap_or_default().chars().take(200).collect();
    Failure::invalid(format!("is too complex ({reason})"))
}

//! A model's tokens as the grammar library wants them: bytes in a trie, shared by all grammars.

use std::sync::Arc;

use llguidance::ParserFactory;
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::account::Account;
use super::limits::parser_limits;
use crate::failure::{Failure, Outcome};
use crate::tokenizer::{Specials, Tokenizer};

/// Longer tokens (the trie's depth is bounded by 1024) are left out.
const MAX_TOKEN_BYTES: usize = 1000;

pub struct Vocabulary {
    pub factory: ParserFactory,
    /// What the constraints made from it hold.
    pub account: Arc<Account>,
}

impl Vocabulary {
    /// `size` tokens are the model's; `eos` end a complete text.
    pub fn new(tokenizer: Arc<Tokenizer>, size: usize, eos: &[i32]) -> Outcome<Self> {
        let mut words = Vec::with_capacity(size);
        for id in 0..size as u32 {
            words.push(word(&tokenizer, id)?);
        }
        let eos: Vec<TokenId> = eos
            .iter()
            .filter(|id| (0..size as i64).contains(&(**id as i64)))
            .map(|id| *id as u32)
            .collect();
        let first = eos.first().copied().unwrap_or(toktrie::INVALID_TOKEN);
        let trie = TokTrie::from(&TokRxInfo::new(size as u32, first), &words);
        let trie = if eos.is_empty() { trie } else { trie.with_eos_tokens(&eos) };
        let canonical = tokenizer.decoding.is_bytes();
        let env: TokEnv = Arc::new(Env { tokenizer, trie, canonical });
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
            .map_err(|e| {
                Failure::unsupported(format!("the vocabulary cannot be constrained: {e}"))
            })?;
        factory.quiet();
        *factory.limits_mut() = parser_limits();
        Ok(Self { factory, account: Arc::default() })
    }
}

/// Special tokens carry a mark, so that no text matches them; what is empty is never allowed.
fn word(tokenizer: &Tokenizer, id: u32) -> Outcome<Vec<u8>> {
    let Some(mut bytes) = tokenizer.token_bytes(id)? else {
        return Ok(Vec::new());
    };
    if tokenizer.is_special(id as i32) {
        bytes.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
    } else if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
        return Ok(Vec::new()); // no UTF-8 text has this byte
    }
    if bytes.len() > MAX_TOKEN_BYTES {
        bytes.clear();
    }
    Ok(bytes)
}

struct Env {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
    canonical: bool,
}

impl Env {
    /// The tokenizer's own tokens for a text, unless they would not spell it.
    fn tokenize_text(&self, text: &str) -> Option<Vec<TokenId>> {
        let ids = self.tokenizer.encode(text, false, Specials::AsText).ok()?;
        let ids: Vec<TokenId> = ids.into_iter().map(|id| id as TokenId).collect();
        let known = ids.iter().all(|id| (*id as usize) < self.trie.vocab_size());
        (known && self.trie.decode_raw(&ids) == text.as_bytes()).then_some(ids)
    }
}

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
        let mut ids =
            self.tokenize_text(text).unwrap_or_else(|| self.trie.greedy_tokenize(&bytes[..valid]));
        ids.extend(self.trie.greedy_tokenize(&bytes[valid..]));
        ids
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}

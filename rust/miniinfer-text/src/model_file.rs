//! The `model` of tokenizer.json, read in one pass. The library's own reader buffers it as a tree
//! first, which takes 0.2 s for 150,000 tokens, and lets duplicate tokens pass.

use std::borrow::Cow;
use std::fmt;

use ahash::AHashMap;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenizers::models::bpe::BpeBuilder;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevelBuilder;
use tokenizers::models::wordpiece::WordPieceBuilder;
use tokenizers::ModelWrapper;

/// Published vocabularies end below 2^19; ids index arrays.
const MAX_ID: u32 = 1 << 28;

pub struct ModelFile {
    pub model: ModelWrapper,
    pub max_id: Option<u32>,
    /// Tokens by id, as far as the ids are dense enough to be an array; the others are in `sparse`.
    pub ids: Ids,
}

/// Which ids have a token.
#[derive(Default)]
pub struct Ids {
    taken: Vec<u64>,
    sparse: std::collections::HashSet<u32>,
}

/// Arrays for ids cost up to 1 MiB; ids beyond are few or wrong.
const DENSE_IDS: u32 = 1 << 23;

impl Ids {
    /// False when the id had a token already.
    pub fn insert(&mut self, id: u32) -> bool {
        if id >= DENSE_IDS {
            return self.sparse.insert(id);
        }
        let (word, bit) = (id as usize / 64, 1u64 << (id % 64));
        if word >= self.taken.len() {
            self.taken.resize(word + 1, 0);
        }
        let fresh = self.taken[word] & bit == 0;
        self.taken[word] |= bit;
        fresh
    }

    pub fn contains(&self, id: u32) -> bool {
        let word = self.taken.get(id as usize / 64).copied().unwrap_or(0);
        word & (1 << (id % 64)) != 0 || self.sparse.contains(&id)
    }
}

/// A JSON string, borrowed from the file where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_string())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A merge: two tokens, or both in one string with a space between.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge: two tokens")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(Merge(left.into(), right.into()))
                    }
                    _ => Err(E::custom(format!("model.merges: '{text}' is not two tokens"))),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let two = || A::Error::custom("model.merges: a merge is not two tokens");
                let left: Text = seq.next_element()?.ok_or_else(two)?;
                let right: Text = seq.next_element()?.ok_or_else(two)?;
                match seq.next_element::<IgnoredAny>()? {
                    None => Ok(Merge(left.0.into_owned(), right.0.into_owned())),
                    Some(_) => Err(two()),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}

/// {token: id}, or [[token, score], ..] in the order of the ids.
enum Vocab {
    Ids { map: AHashMap<String, u32>, ids: Ids, max_id: Option<u32>, longest: usize },
    Scores(Vec<(String, f64)>),
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;
        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a vocabulary")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = AHashMap::new();
                let (mut ids, mut max_id, mut longest) = (Ids::default(), None, 0);
                while let Some((token, id)) = entries.next_entry::<Text, u32>()? {
                    let token = token.0.into_owned();
                    longest = longest.max(token.len());
                    if id > MAX_ID || !ids.insert(id) {
                        let reason = if id > MAX_ID { "too large" } else { "given to two tokens" };
                        return Err(A::Error::custom(format!(
                            "model.vocab: '{token}': the id {id} is {reason}"
                        )));
                    }
                    max_id = max_id.max(Some(id));
                    if let Some(other) = map.insert(token, id) {
                        return Err(A::Error::custom(format!(
                            "model.vocab: the same token has the ids {other} and {id}"
                        )));
                    }
                }
                Ok(Vocab::Ids { map, ids, max_id, longest })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut scores = Vec::new();
                while let Some((token, score)) = entries.next_element::<(String, f64)>()? {
                    scores.push((token, score));
                }
                Ok(Vocab::Scores(scores))
            }
        }
        deserializer.deserialize_any(VocabVisitor)
    }
}

/// The fields of every kind of model.
#[derive(serde::Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Vocab,
    merges: Option<Vec<Merge>>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    max_input_chars_per_word: Option<usize>,
    unk_id: Option<usize>,
}

impl<'de> Deserialize<'de> for ModelFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fields::deserialize(deserializer)?.build().map_err(D::Error::custom)
    }
}

impl Fields {
    fn build(self) -> Result<ModelFile, String> {
        let kind = match (&self.kind, &self.vocab) {
            (Some(kind), _) => kind.clone(),
            // Files from before the type was written.
            (None, Vocab::Scores(_)) => "Unigram".to_string(),
            (None, _) if self.merges.is_some() => "BPE".to_string(),
            (None, _) if self.max_input_chars_per_word.is_some() => "WordPiece".to_string(),
            (None, _) => "WordLevel".to_string(),
        };
        match kind.as_str() {
            "BPE" => self.bpe(),
            "Unigram" => self.unigram(),
            "WordPiece" | "WordLevel" => self.words(kind == "WordPiece"),
            other => Err(format!("model.type: '{other}' is unknown")),
        }
    }

    fn bpe(self) -> Result<ModelFile, String> {
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err("model.dropout: only 0 is supported".into());
        }
        let Vocab::Ids { map, ids, max_id, longest } = self.vocab else {
            return Err("model.vocab: expected an object".into());
        };
        let merges = self.merges.ok_or("model.merges is missing")?;
        let prefix = self.continuing_subword_prefix.as_deref().unwrap_or_default();
        let mut pairs = Vec::with_capacity(merges.len());
        for Merge(left, right) in merges {
            // The library relies on both.
            let tail = right.strip_prefix(prefix);
            let tail =
                tail.ok_or_else(|| format!("model.merges: '{right}' lacks the prefix '{prefix}'"))?;
            if left.len() + tail.len() > longest {
                let reason = "make a token that is not in the vocabulary";
                return Err(format!("model.merges: '{left}' and '{right}' {reason}"));
            }
            pairs.push((left, right));
        }
        let mut builder = BpeBuilder::new()
            .vocab_and_merges(map, pairs)
            .fuse_unk(self.fuse_unk.unwrap_or(false))
            .byte_fallback(self.byte_fallback.unwrap_or(false))
            .ignore_merges(self.ignore_merges.unwrap_or(false));
        if let Some(token) = self.unk_token {
            builder = builder.unk_token(token);
        }
        if let Some(prefix) = self.continuing_subword_prefix {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            builder = builder.end_of_word_suffix(suffix);
        }
        let model = builder.build().map_err(|e| format!("model.merges: {e}"))?;
        Ok(ModelFile { model: ModelWrapper::BPE(model), max_id, ids })
    }

    fn unigram(self) -> Result<ModelFile, String> {
        let Vocab::Scores(scores) = self.vocab else {
            return Err("model.vocab: expected a list of tokens with scores".into());
        };
        let mut ids = Ids::default();
        let mut seen = std::collections::HashSet::with_capacity(scores.len());
        for (id, (token, score)) in scores.iter().enumerate() {
            if !seen.insert(token.as_str()) {
                return Err(format!("model.vocab: '{token}' occurs twice"));
            }
            if !score.is_finite() {
                return Err(format!("model.vocab: '{token}': the score is not finite"));
            }
            ids.insert(id as u32);
        }
        let max_id = scores.len().checked_sub(1).map(|id| id as u32);
        let model = Unigram::from(scores, self.unk_id, self.byte_fallback.unwrap_or(false));
        let model = model.map_err(|e| format!("model: {e}"))?;
        Ok(ModelFile { model: ModelWrapper::Unigram(model), max_id, ids })
    }

    fn words(self, pieces: bool) -> Result<ModelFile, String> {
        let Vocab::Ids { map, ids, max_id, .. } = self.vocab else {
            return Err("model.vocab: expected an object".into());
        };
        let unk_token = self.unk_token.ok_or("model.unk_token is missing")?;
        let model = if pieces {
            let builder = WordPieceBuilder::new()
                .vocab(map)
                .unk_token(unk_token)
                .continuing_subword_prefix(
                    self.continuing_subword_prefix.unwrap_or_else(|| "##".into()),
                )
                .max_input_chars_per_word(self.max_input_chars_per_word.unwrap_or(100).min(1000));
            ModelWrapper::WordPiece(builder.build().map_err(|e| format!("model: {e}"))?)
        } else {
            let builder = WordLevelBuilder::new().vocab(map).unk_token(unk_token);
            ModelWrapper::WordLevel(builder.build().map_err(|e| format!("model: {e}"))?)
        };
        Ok(ModelFile { model, max_id, ids })
    }
}

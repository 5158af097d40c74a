//! A tokenizer: text to ids and back. Immutable after load.

use tokenizers::tokenizer::{AddedVocabulary, Model, OffsetType, PostProcessor};
use tokenizers::{ModelWrapper, NormalizerWrapper, PostProcessorWrapper, SplitDelimiterBehavior};

use crate::decode::Decoding;
use crate::failure::{Failure, Outcome};
use crate::ffi::caught;
use crate::load::Loaded;
use crate::pre_tokenize::PreTokenize;

/// What text that spells a special token becomes.
#[derive(Clone, Copy)]
pub enum Specials {
    Parse,
    AsText,
    /// Parsed, except where this character breaks them; it is then taken out of the text.
    BrokenBy(char),
}

pub struct Tokenizer {
    normalizer: Option<NormalizerWrapper>,
    pre_tokenize: Option<PreTokenize>,
    model: ModelWrapper,
    post_processor: Option<PostProcessorWrapper>,
    added: AddedVocabulary,
    /// The same tokens with special ones not looked for in text.
    added_plain: AddedVocabulary,
    pub decoding: Decoding,
    special_ids: Vec<bool>,
    special_texts: Vec<String>,
    pub bos: Option<(String, u32)>,
    pub eos: Option<(String, u32)>,
    vocab_size: i64,
    split_special_tokens: bool,
}

impl Tokenizer {
    pub fn new(json: &[u8], config: &[u8]) -> Outcome<Self> {
        let Loaded { parts, config, max_id } = Loaded::read(json, config)?;
        let mut special_ids = vec![false; max_id.map_or(0, |id| id as usize + 1)];
        let mut special_texts = Vec::new();
        for (id, token) in parts.added.get_added_tokens_decoder() {
            if token.special {
                special_ids[*id as usize] = true;
                special_texts.push(token.content.clone());
            }
        }
        special_texts.sort();
        let named = |name: &str| {
            let token = config.named_token(name)?;
            let id = parts.added.token_to_id(&token.content, &parts.model)?;
            Some((token.content.clone(), id))
        };
        let (bos, eos) = (named("bos_token"), named("eos_token"));
        let clean_up = config.clean_up_spaces
            && (config.clean_up_bpe_too || !matches!(parts.model, ModelWrapper::BPE(_)));
        let tokenizer = Self {
            pre_tokenize: parts.pre_tokenizer,
            decoding: Decoding::new(parts.decoder, clean_up),
            normalizer: parts.normalizer,
            model: parts.model,
            post_processor: parts.post_processor,
            added: parts.added,
            added_plain: parts.added_plain,
            special_ids,
            special_texts,
            bos,
            eos,
            vocab_size: max_id.map_or(0, |id| id as i64 + 1),
            split_special_tokens: config.split_special_tokens,
        };
        tokenizer.probe()?;
        Ok(tokenizer)
    }

    /// The library panics where a post-processor names a token that it does not define.
    fn probe(&self) -> Outcome<()> {
        let tried = caught(|| self.encode("a", true, Specials::Parse).map(|_| ()));
        let refused =
            tried.map_err(|panic| Failure::corrupt(format!("tokenizer.json: unusable: {panic}")));
        refused.map(|_| ())
    }

    pub fn encode(
        &self,
        text: &str,
        add_special_tokens: bool,
        specials: Specials,
    ) -> Outcome<Vec<i32>> {
        let added = match specials {
            Specials::AsText => &self.added_plain,
            _ if self.split_special_tokens => &self.added_plain,
            _ => &self.added,
        };
        let mut pieces = added.extract_and_normalize(self.normalizer.as_ref(), text);
        let run = || -> tokenizers::Result<Vec<i32>> {
            if let Specials::BrokenBy(mark) = specials {
                if matches!(self.model, ModelWrapper::BPE(_)) {
                    pieces.normalize(|piece| {
                        piece.filter(|c| c != mark);
                        Ok(())
                    })?;
                } else {
                    // Other models look whole tokens up, special ones too, so the parts stay apart.
                    pieces.split(|_, piece| piece.split(mark, SplitDelimiterBehavior::Removed))?;
                }
            }
            if let Some(pre_tokenize) = &self.pre_tokenize {
                pre_tokenize.apply(&mut pieces)?;
            }
            pieces.tokenize(|piece| self.model.tokenize(piece.get()))?;
            let encoding = pieces.into_encoding(None, 0, OffsetType::None)?;
            let encoding = match &self.post_processor {
                Some(processor) if add_special_tokens => processor.process(encoding, None, true)?,
                _ => encoding,
            };
            Ok(encoding.get_ids().iter().map(|id| *id as i32).collect())
        };
        run().map_err(|e| Failure::invalid(format!("the text cannot be tokenized: {e}")))
    }

    pub fn decode(&self, ids: &[i32], skip_special_tokens: bool) -> Outcome<String> {
        let mut stream = self.decoding.start();
        let mut text = String::new();
        for id in ids {
            if let Some(token) = self.decoded_token(*id, skip_special_tokens)? {
                stream.push(&self.decoding, token, &mut text)?;
            }
        }
        stream.finish(&self.decoding, &mut text)?;
        Ok(text)
    }

    /// The token's text as the decoder takes it; none for a skipped special token or an id without
    /// a token.
    pub fn decoded_token(&self, id: i32, skip_special_tokens: bool) -> Outcome<Option<String>> {
        let id = u32::try_from(id)
            .map_err(|_| Failure::invalid(format!("token id {id} is negative")))?;
        let token = self.added.simple_id_to_token(id).or_else(|| self.model.id_to_token(id));
        Ok(token.filter(|token| !(skip_special_tokens && self.added.is_special_token(token))))
    }

    /// The bytes that a token adds to the text; none for an id without a token. The first token of
    /// a text may be decoded without the space that it has here.
    pub fn token_bytes(&self, id: u32) -> Outcome<Option<Vec<u8>>> {
        if let Some(token) = self.added.get_added_tokens_decoder().get(&id) {
            return Ok(Some(token.content.clone().into_bytes()));
        }
        self.model.id_to_token(id).map(|token| self.decoding.token_bytes(token)).transpose()
    }

    pub fn vocab_size(&self) -> i64 {
        self.vocab_size
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.added.token_to_id(token, &self.model)
    }

    pub fn id_to_token(&self, id: i32) -> Option<String> {
        let id = u32::try_from(id).ok()?;
        let added =
            self.added.get_added_tokens_decoder().get(&id).map(|token| token.content.clone());
        added.or_else(|| self.model.id_to_token(id))
    }

    pub fn is_special(&self, id: i32) -> bool {
        usize::try_from(id).is_ok_and(|id| self.special_ids.get(id).copied().unwrap_or(false))
    }

    /// What the special tokens look like in text, sorted.
    pub fn special_texts(&self) -> &[String] {
        &self.special_texts
    }
}

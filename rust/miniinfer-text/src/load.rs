//! Reads tokenizer.json and tokenizer_config.json into the parts of a tokenizer, and checks what
//! the library does not.

use std::collections::HashSet;

use serde::Deserialize;
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};
use tokenizers::tokenizer::{AddedVocabulary, Model};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
};

use crate::failure::{Failure, Outcome};
use crate::ffi::caught;
use crate::llama_class;
use crate::model_file::{Ids, ModelFile};
use crate::pre_tokenize::PreTokenize;
use crate::tokenizer_config::TokenizerConfig;

pub struct Parts {
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: Option<PreTokenize>,
    pub model: ModelWrapper,
    pub post_processor: Option<PostProcessorWrapper>,
    pub decoder: Option<DecoderWrapper>,
    pub added: AddedVocabulary,
    pub added_plain: AddedVocabulary,
}

pub struct Loaded {
    pub parts: Parts,
    pub config: TokenizerConfig,
    pub max_id: Option<u32>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    added_tokens: Vec<FileToken>,
    #[serde(default, deserialize_with = "named::normalizer")]
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pre_tokenizer: Option<serde_json::Value>,
    #[serde(default, deserialize_with = "named::post_processor")]
    post_processor: Option<PostProcessorWrapper>,
    #[serde(default, deserialize_with = "named::decoder")]
    decoder: Option<DecoderWrapper>,
    model: ModelFile,
}

/// Parts whose errors say which part it was.
mod named {
    use super::*;
    use serde::de::{Deserializer, Error};

    macro_rules! named {
        ($field:ident, $kind:ty) => {
            pub fn $field<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<$kind>, D::Error> {
                Option::deserialize(deserializer)
                    .map_err(|e| D::Error::custom(format!(concat!(stringify!($field), ": {}"), e)))
            }
        };
    }
    named!(normalizer, NormalizerWrapper);
    named!(post_processor, PostProcessorWrapper);
    named!(decoder, DecoderWrapper);
}

#[derive(Deserialize)]
struct FileToken {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

impl Loaded {
    pub fn read(json: &[u8], config: &[u8]) -> Outcome<Self> {
        // The library panics on some contradictions in a file.
        caught(|| Self::read_unguarded(json, config)).unwrap_or_else(|panic| Err(corrupt(panic)))
    }

    fn read_unguarded(json: &[u8], config: &[u8]) -> Outcome<Self> {
        let mut file: File = serde_json::from_slice(json).map_err(corrupt)?;
        if file.version.as_deref().is_some_and(|version| version != "1.0") {
            return Err(Failure::unsupported("tokenizer.json: version: only 1.0 is known"));
        }
        let config = TokenizerConfig::parse(config)?;
        let ModelFile { model, mut max_id, ids } = file.model;
        check_added(&file.added_tokens, &model, &ids)?;
        if let Some(spaces) = llama_class::spaces(&config, &model) {
            file.normalizer = spaces.normalizer;
            file.pre_tokenizer = spaces.pre_tokenizer;
            file.decoder = spaces.decoder;
        }

        let tokens = all_added_tokens(&file.added_tokens, &config);
        let build = || -> tokenizers::Result<AddedVocabulary> {
            let mut added = AddedVocabulary::new();
            added.add_tokens(tokens.iter().cloned(), &model, file.normalizer.as_ref())?;
            Ok(added)
        };
        let added = build().map_err(corrupt)?;
        let mut added_plain = build().map_err(corrupt)?;
        added_plain.set_encode_special_tokens(true);
        max_id = max_id.max(added.get_added_tokens_decoder().keys().max().copied());

        let post_processor = match file.post_processor {
            Some(processor) if config.add_bos.is_none() && config.add_eos.is_none() => {
                Some(processor)
            }
            _ => template_post_processor(&config, &added, &model)?,
        };
        Ok(Self {
            parts: Parts {
                normalizer: file.normalizer,
                pre_tokenizer: file.pre_tokenizer.map(PreTokenize::new).transpose()?,
                model,
                post_processor,
                decoder: file.decoder,
                added,
                added_plain,
            },
            config,
            max_id,
        })
    }
}

fn corrupt(reason: impl std::fmt::Display) -> Failure {
    Failure::corrupt(format!("tokenizer.json: {reason}"))
}

/// An added token has its own id, or the one that the model's vocabulary gives it.
fn check_added(tokens: &[FileToken], model: &ModelWrapper, ids: &Ids) -> Outcome<()> {
    let mut seen: HashSet<u32> = HashSet::new();
    for FileToken { id, token } in tokens {
        let content = &token.content;
        if !seen.insert(*id) {
            return Err(corrupt(format!("added_tokens: the id {id} is given to two tokens")));
        }
        match model.token_to_id(content) {
            Some(known) if known != *id => {
                return Err(corrupt(format!(
                    "added_tokens: '{content}' has the id {id}, and {known} in model.vocab"
                )));
            }
            None if ids.contains(*id) => {
                return Err(corrupt(format!(
                    "added_tokens: '{content}' has the id {id} of another token in model.vocab"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The tokens of the file, then those that only the configuration names, as transformers adds them.
fn all_added_tokens(file: &[FileToken], config: &TokenizerConfig) -> Vec<AddedToken> {
    let mut tokens: Vec<AddedToken> = file.iter().map(|entry| entry.token.clone()).collect();
    for (_, token) in &config.added {
        tokens.push(token.clone());
    }
    let named = config.named.iter().map(|(_, token)| token).chain(&config.extra_special);
    for token in named {
        let known = tokens.iter().rev().find(|known| known.content == token.content);
        let mut token = known.unwrap_or(token).clone();
        token.special = true;
        tokens.push(token);
    }
    tokens
}

/// BOS and EOS around the text as `add_bos_token` and `add_eos_token` say, instead of the file's
/// post-processor.
fn template_post_processor(
    config: &TokenizerConfig,
    added: &AddedVocabulary,
    model: &ModelWrapper,
) -> Outcome<Option<PostProcessorWrapper>> {
    let mut pieces = vec!["$A:0".to_string()];
    let mut specials = Vec::new();
    let mut use_token = |name: &str| -> Option<String> {
        let token = config.named_token(name)?;
        let id = added.token_to_id(&token.content, model)?;
        specials.push(SpecialToken::from((token.content.clone(), id)));
        Some(token.content.clone())
    };
    if config.add_bos == Some(true) {
        if let Some(token) = use_token("bos_token") {
            pieces.insert(0, token);
        }
    }
    if config.add_eos == Some(true) {
        if let Some(token) = use_token("eos_token") {
            pieces.push(token);
        }
    }
    if specials.is_empty() {
        return Ok(None);
    }
    let processor = TemplateProcessing::builder()
        .try_single(pieces)
        .map_err(corrupt)?
        .special_tokens(specials)
        .build()
        .map_err(corrupt)?;
    Ok(Some(PostProcessorWrapper::Template(processor)))
}

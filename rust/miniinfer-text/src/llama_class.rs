//! transformers gives a checkpoint of class LlamaTokenizer the class's own spaces, whatever
//! tokenizer.json says: they are marked before the whole text, not again after every special token.

use serde_json::{json, Value};
use tokenizers::{DecoderWrapper, ModelWrapper, NormalizerWrapper};

use crate::tokenizer_config::TokenizerConfig;

const CLASSES: [&str; 2] = ["LlamaTokenizer", "LlamaTokenizerFast"];

pub struct Spaces {
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: Option<Value>,
    pub decoder: Option<DecoderWrapper>,
}

/// The parts of the class, for the vocabularies that it is made for: those with byte fallback.
pub fn spaces(config: &TokenizerConfig, model: &ModelWrapper) -> Option<Spaces> {
    let ModelWrapper::BPE(bpe) = model else { return None };
    if !bpe.byte_fallback || !CLASSES.contains(&config.class.as_str()) {
        return None;
    }
    let scheme = match (config.add_prefix_space, config.legacy) {
        (false, _) => "never",
        (true, true) => "always",
        (true, false) => "first",
    };
    let pre_tokenizer = json!({
        "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": false
    });
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if config.add_prefix_space {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let decoder = json!({"type": "Sequence", "decoders": decoders});
    Some(Spaces {
        normalizer: None,
        pre_tokenizer: Some(pre_tokenizer),
        decoder: serde_json::from_value(decoder).ok(),
    })
}

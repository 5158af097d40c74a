//! tokenizer_config.json: the named special tokens and the switches that change encoding or
//! decoding.

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::failure::{Failure, Outcome};

/// The named tokens that a checkpoint may define, in the order in which they join the vocabulary.
pub const NAMED_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

#[derive(Default)]
pub struct TokenizerConfig {
    /// `tokenizer_class`, empty when absent.
    pub class: String,
    pub legacy: bool,
    pub add_prefix_space: bool,
    /// bos_token, eos_token and every other `*_token` with a value.
    pub named: Vec<(String, AddedToken)>,
    pub extra_special: Vec<AddedToken>,
    /// `added_tokens_decoder`, by id.
    pub added: Vec<(u32, AddedToken)>,
    /// None when the key is absent: the post-processor of tokenizer.json then stays as it is.
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub clean_up_spaces: bool,
    pub clean_up_bpe_too: bool,
    pub split_special_tokens: bool,
    /// `chat_template`: a string, or a list of {"name", "template"}.
    pub chat_template: Option<Value>,
}

impl TokenizerConfig {
    /// `bytes` may be empty: a checkpoint without the file.
    pub fn parse(bytes: &[u8]) -> Outcome<Self> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let value: Value =
            serde_json::from_slice(bytes).map_err(|e| corrupt(format!("not valid JSON: {e}")))?;
        let Value::Object(object) = value else {
            return Err(corrupt("expected a JSON object"));
        };
        let mut config = Self {
            class: object.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default().into(),
            legacy: flag(&object, "legacy")?.unwrap_or(false),
            add_prefix_space: flag(&object, "add_prefix_space")?.unwrap_or(true),
            add_bos: flag(&object, "add_bos_token")?,
            add_eos: flag(&object, "add_eos_token")?,
            clean_up_spaces: flag(&object, "clean_up_tokenization_spaces")?.unwrap_or(false),
            clean_up_bpe_too: flag(
                &object,
                "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
            )?
            .unwrap_or(false),
            split_special_tokens: flag(&object, "split_special_tokens")?.unwrap_or(false),
            chat_template: object.get("chat_template").filter(|v| !v.is_null()).cloned(),
            ..Self::default()
        };
        config.read_named(&object)?;
        config.read_added(&object)?;
        Ok(config)
    }

    pub fn named_token(&self, name: &str) -> Option<&AddedToken> {
        self.named.iter().find(|(key, _)| key == name).map(|(_, token)| token)
    }

    fn read_named(&mut self, object: &Map<String, Value>) -> Outcome<()> {
        let is_named = |key: &str| NAMED_TOKENS.contains(&key);
        for name in NAMED_TOKENS {
            if let Some(token) = object.get(name).filter(|v| !v.is_null()) {
                self.named.push((name.to_string(), added_token(token, name)?));
            }
        }
        for (key, value) in object {
            if key.ends_with("_token") && !is_named(key) && (value.is_string() || value.is_object())
            {
                self.named.push((key.clone(), added_token(value, key)?));
            }
        }
        let extra =
            object.get("extra_special_tokens").or_else(|| object.get("additional_special_tokens"));
        match extra {
            None | Some(Value::Null) => {}
            Some(Value::Array(tokens)) => {
                for token in tokens {
                    self.extra_special.push(added_token(token, "extra_special_tokens")?);
                }
            }
            Some(Value::Object(tokens)) => {
                for (name, token) in tokens {
                    self.named.push((name.clone(), added_token(token, "extra_special_tokens")?));
                }
            }
            Some(_) => return Err(corrupt("extra_special_tokens: expected a list or an object")),
        }
        Ok(())
    }

    fn read_added(&mut self, object: &Map<String, Value>) -> Outcome<()> {
        let Some(value) = object.get("added_tokens_decoder").filter(|v| !v.is_null()) else {
            return Ok(());
        };
        let Value::Object(tokens) = value else {
            return Err(corrupt("added_tokens_decoder: expected an object"));
        };
        for (id, token) in tokens {
            let id = id
                .parse::<u32>()
                .map_err(|_| corrupt(format!("added_tokens_decoder: '{id}' is not a token id")))?;
            self.added.push((id, added_token(token, "added_tokens_decoder")?));
        }
        self.added.sort_by_key(|(id, _)| *id);
        Ok(())
    }
}

fn corrupt(reason: impl std::fmt::Display) -> Failure {
    Failure::corrupt(format!("tokenizer_config.json: {reason}"))
}

fn flag(object: &Map<String, Value>, key: &str) -> Outcome<Option<bool>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(corrupt(format!("{key}: expected true or false"))),
    }
}

/// A token is a string, or an object with `content` and matching flags.
fn added_token(value: &Value, field: &str) -> Outcome<AddedToken> {
    match value {
        Value::String(content) => Ok(AddedToken::from(content.clone(), true).normalized(false)),
        Value::Object(object) => {
            let content = object.get("content").and_then(Value::as_str);
            let content = content
                .ok_or_else(|| corrupt(format!("{field}: a token without a string 'content'")))?;
            let on = |key: &str, default: bool| {
                object.get(key).and_then(Value::as_bool).unwrap_or(default)
            };
            let special = on("special", false);
            Ok(AddedToken::from(content, special)
                .normalized(on("normalized", !special))
                .single_word(on("single_word", false))
                .lstrip(on("lstrip", false))
                .rstrip(on("rstrip", false)))
        }
        _ => Err(corrupt(format!("{field}: expected a string or an object"))),
    }
}

//! One decoder of the library as a stage of a stream.

use serde_json::Value;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{Decoder, DecoderWrapper};

use super::byte_level;
use crate::failure::{Failure, Outcome};

pub enum Stage {
    /// No decoder: tokens are separated by spaces.
    Spaces,
    ByteLevel,
    ByteFallback,
    Strip {
        content: char,
        start: usize,
        stop: usize,
        fused: bool,
    },
    Metaspace {
        replacement: char,
        keep_first: bool,
        fused: bool,
    },
    /// Each token depends on whether it is the first.
    FirstDiffers(DecoderWrapper),
    /// Each token depends on whether it is the last.
    LastDiffers(DecoderWrapper),
    /// Each token by itself.
    Each(DecoderWrapper),
    /// Whatever needs all tokens; nothing comes out before the end.
    Whole {
        decoder: DecoderWrapper,
        fused: bool,
    },
}

pub enum State {
    Nothing,
    First(bool),
    Bytes(Vec<u8>),
    ByteTokens(Vec<String>),
    Strip { left: usize, held: String },
    Last(Option<String>),
    All(Vec<String>),
}

#[derive(Default)]
pub struct Emitted {
    pub tokens: Vec<String>,
}

impl Stage {
    /// The stages of a decoder. `Fuse` is no stage: it only makes what follows see fragments of one
    /// token.
    pub fn chain(decoder: Option<DecoderWrapper>) -> Vec<Self> {
        let Some(decoder) = decoder else {
            return vec![Self::Spaces];
        };
        let mut stages = Vec::new();
        let mut fused = false;
        append(decoder, &mut stages, &mut fused);
        stages
    }

    pub fn start(&self) -> State {
        match self {
            Self::Spaces | Self::FirstDiffers(_) => State::First(true),
            Self::Metaspace { .. } => State::First(true),
            Self::ByteLevel => State::Bytes(Vec::new()),
            Self::ByteFallback => State::ByteTokens(Vec::new()),
            Self::Strip { start, .. } => State::Strip { left: *start, held: String::new() },
            Self::LastDiffers(_) => State::Last(None),
            Self::Each(_) => State::Nothing,
            Self::Whole { .. } => State::All(Vec::new()),
        }
    }

    /// A token of the middle of a text, alone. What is stripped at the ends of a text is not here.
    pub fn token_bytes(&self, token: Vec<u8>) -> Outcome<Vec<u8>> {
        let Ok(text) = std::str::from_utf8(&token) else {
            return Ok(token); // a byte of a stage before
        };
        Ok(match self {
            Self::ByteLevel => {
                let mut bytes = Vec::new();
                byte_level::append_bytes(text, &mut bytes);
                bytes
            }
            Self::ByteFallback if is_byte_token(text) => {
                vec![u8::from_str_radix(&text[3..5], 16).unwrap_or_default()]
            }
            Self::ByteFallback | Self::Strip { fused: true, .. } => token,
            Self::Strip { content, start, stop, .. } => {
                strip(text, *content, *start, *stop).into_bytes()
            }
            Self::Metaspace { replacement, .. } => text.replace(*replacement, " ").into_bytes(),
            Self::Each(decoder) => decode(decoder, vec![text.to_string()])?.concat().into_bytes(),
            Self::LastDiffers(decoder) => {
                decode(decoder, vec![text.to_string(), String::new()])?.concat().into_bytes()
            }
            Self::Spaces | Self::FirstDiffers(_) | Self::Whole { .. } => {
                return Err(Failure::unsupported(
                    "the tokenizer's tokens have no text of their own",
                ))
            }
        })
    }

    pub fn push(&self, state: &mut State, token: String, out: &mut Emitted) -> Outcome<()> {
        match (self, state) {
            (Self::Spaces, State::First(first)) => {
                let separator = if std::mem::take(first) { "" } else { " " };
                out.tokens.push(format!("{separator}{token}"));
            }
            (Self::ByteLevel, State::Bytes(bytes)) => {
                byte_level::append_bytes(&token, bytes);
                out.tokens.push(byte_level::take_settled(bytes));
            }
            (Self::ByteFallback, State::ByteTokens(run)) => {
                if is_byte_token(&token) {
                    run.push(token);
                } else {
                    out.tokens.extend(bytes_of_run(run)?);
                    out.tokens.push(token);
                }
            }
            (Self::Strip { content, start, stop, fused }, State::Strip { left, held }) => {
                if *fused {
                    out.tokens.push(strip_fragment(&token, *content, *stop, left, held));
                } else {
                    out.tokens.push(strip(&token, *content, *start, *stop));
                }
            }
            (Self::Metaspace { replacement, keep_first, fused }, State::First(first)) => {
                let drop = *first && !keep_first;
                let space = |c| if c == *replacement { (!drop).then_some(' ') } else { Some(c) };
                out.tokens.push(token.chars().filter_map(space).collect());
                *first = *fused;
            }
            (Self::FirstDiffers(decoder), State::First(first)) => {
                // A token in front makes the decoder see a later one.
                let before = if std::mem::take(first) { vec![] } else { vec![String::new()] };
                let count = before.len();
                let tokens = before.into_iter().chain([token]).collect();
                out.tokens.extend(decode(decoder, tokens)?.into_iter().skip(count));
            }
            (Self::LastDiffers(decoder), State::Last(last)) => {
                if let Some(previous) = last.replace(token) {
                    out.tokens.extend(
                        decode(decoder, vec![previous, String::new()])?.into_iter().take(1),
                    );
                }
            }
            (Self::Each(decoder), State::Nothing) => {
                out.tokens.extend(decode(decoder, vec![token])?)
            }
            (Self::Whole { fused, .. }, State::All(tokens)) => match tokens.last_mut() {
                Some(last) if *fused => last.push_str(&token),
                _ => tokens.push(token),
            },
            _ => unreachable!("a stage with another stage's state"),
        }
        Ok(())
    }

    /// What the stage still holds at the end.
    pub fn finish(&self, state: &mut State) -> Outcome<Vec<String>> {
        match (self, state) {
            (Self::ByteLevel, State::Bytes(bytes)) if !bytes.is_empty() => {
                Ok(vec![String::from_utf8_lossy(&std::mem::take(bytes)).into_owned()])
            }
            (Self::ByteFallback, State::ByteTokens(run)) => bytes_of_run(run),
            (Self::Strip { content, stop, fused: true, .. }, State::Strip { held, .. }) => {
                Ok(vec![strip(held, *content, 0, *stop)])
            }
            (Self::LastDiffers(decoder), State::Last(last)) => match last.take() {
                Some(token) => decode(decoder, vec![token]),
                None => Ok(vec![]),
            },
            (Self::Whole { decoder, .. }, State::All(tokens)) if !tokens.is_empty() => {
                decode(decoder, std::mem::take(tokens))
            }
            _ => Ok(vec![]),
        }
    }
}

fn append(decoder: DecoderWrapper, stages: &mut Vec<Stage>, fused: &mut bool) {
    let stage = match decoder {
        DecoderWrapper::Sequence(sequence) => {
            for part in sequence.get_decoders() {
                append(part.clone(), stages, fused);
            }
            return;
        }
        DecoderWrapper::Fuse(_) => {
            *fused = true;
            return;
        }
        DecoderWrapper::ByteLevel(_) if !*fused => {
            *fused = true;
            Stage::ByteLevel
        }
        DecoderWrapper::ByteFallback(_) if !*fused => Stage::ByteFallback,
        DecoderWrapper::Strip(strip) => Stage::Strip {
            content: strip.content,
            start: strip.start,
            stop: strip.stop,
            fused: *fused,
        },
        DecoderWrapper::Metaspace(metaspace) => Stage::Metaspace {
            replacement: metaspace.get_replacement(),
            keep_first: metaspace.prepend_scheme == PrependScheme::Never,
            fused: *fused,
        },
        DecoderWrapper::WordPiece(_) if !*fused => Stage::FirstDiffers(decoder),
        DecoderWrapper::BPE(_) if !*fused => Stage::LastDiffers(decoder),
        DecoderWrapper::Replace(_) if !*fused || replaces_one_char(&decoder) => {
            Stage::Each(decoder)
        }
        other => Stage::Whole { decoder: other, fused: *fused },
    };
    stages.push(stage);
}

/// Then fragments can be replaced one by one.
fn replaces_one_char(decoder: &DecoderWrapper) -> bool {
    let value = serde_json::to_value(decoder).unwrap_or(Value::Null);
    value["pattern"]["String"].as_str().is_some_and(|text| text.chars().count() == 1)
}

fn decode(decoder: &DecoderWrapper, tokens: Vec<String>) -> Outcome<Vec<String>> {
    decoder
        .decode_chain(tokens)
        .map_err(|e| Failure::invalid(format!("the tokens cannot be decoded: {e}")))
}

fn is_byte_token(token: &str) -> bool {
    token.len() == 6
        && token.starts_with("<0x")
        && token.ends_with('>')
        && token.is_char_boundary(3)
        && token.is_char_boundary(5)
        && u8::from_str_radix(&token[3..5], 16).is_ok()
}

/// A run of byte tokens is text only if all of it is valid UTF-8, so it is held until it ends.
fn bytes_of_run(run: &mut Vec<String>) -> Outcome<Vec<String>> {
    if run.is_empty() {
        return Ok(vec![]);
    }
    let tokens = ByteFallback::default().decode_chain(std::mem::take(run));
    tokens.map_err(|e| Failure::invalid(format!("the byte tokens cannot be decoded: {e}")))
}

fn strip(token: &str, content: char, start: usize, stop: usize) -> String {
    let mut rest = token;
    for _ in 0..start.min(token.len()) {
        rest = rest.strip_prefix(content).unwrap_or(rest);
    }
    for _ in 0..stop.min(token.len()) {
        rest = rest.strip_suffix(content).unwrap_or(rest);
    }
    rest.to_string()
}

/// Fragments of one token: `left` characters may still be stripped at its start, the last `stop`
/// are held back.
fn strip_fragment(
    fragment: &str,
    content: char,
    stop: usize,
    left: &mut usize,
    held: &mut String,
) -> String {
    let mut rest = fragment;
    while *left > 0 && !rest.is_empty() {
        match rest.strip_prefix(content) {
            Some(stripped) => {
                rest = stripped;
                *left -= 1;
            }
            None => *left = 0,
        }
    }
    held.push_str(rest);
    let keep = held.char_indices().rev().take(stop).last().map_or(held.len(), |(at, _)| at);
    let after = held.split_off(keep);
    std::mem::replace(held, after)
}

//! From a constraint's text to a matcher of tokens, within the limits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

use llguidance::api::TopLevelGrammar;
use regex_syntax::hir::{HirKind, Look};
use serde_json::{json, Value};

use super::limits::{COMPILE_STACK_BYTES, COMPILE_TIME, MAX_ABANDONED, MAX_TEXT_BYTES};
use super::Vocabulary;
use crate::failure::{Failure, Outcome};
use crate::ffi::caught;

#[derive(Clone, Copy)]
pub enum Kind {
    JsonSchema,
    Regex,
    Lark,
}

/// Compiled once, for any number of texts.
pub struct Grammar {
    fresh: Mutex<llguidance::Matcher>,
}

/// The progress of one text.
pub struct Matcher {
    inner: llguidance::Matcher,
}

static ABANDONED: AtomicUsize = AtomicUsize::new(0);

impl Grammar {
    pub fn new(vocabulary: Arc<Vocabulary>, kind: Kind, text: &str) -> Outcome<Self> {
        if text.len() > MAX_TEXT_BYTES {
            let message = format!("has {} bytes; the limit is {MAX_TEXT_BYTES}", text.len());
            return Err(Failure::invalid(message));
        }
        if ABANDONED.load(Ordering::SeqCst) >= MAX_ABANDONED {
            return Err(Failure::invalid("too many complex constraints are being compiled"));
        }
        let text = text.to_string();
        // Without a buffer: what is sent is received, or the sender knows that nobody waits.
        let (send, receive) = mpsc::sync_channel(0);
        let job = move || {
            let compiled = caught(|| compile(&vocabulary, kind, &text));
            let compiled = compiled.unwrap_or_else(|panic| Err(too_complex(&panic)));
            if send.send(compiled).is_err() {
                ABANDONED.fetch_sub(1, Ordering::SeqCst);
            }
        };
        thread::Builder::new()
            .stack_size(COMPILE_STACK_BYTES)
            .spawn(job)
            .map_err(|e| Failure::invalid(format!("cannot be compiled now: {e}")))?;
        match receive.recv_timeout(COMPILE_TIME) {
            Ok(compiled) => Ok(Self { fresh: Mutex::new(compiled?) }),
            Err(_) => {
                // Before the channel closes, and so before the thread can find it closed.
                ABANDONED.fetch_add(1, Ordering::SeqCst);
                Err(Failure::invalid("takes too long to compile"))
            }
        }
    }

    /// Its caches are the text's own: another text can neither fill nor break them.
    pub fn matcher(&self) -> Matcher {
        let fresh = self.fresh.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Matcher { inner: fresh.deep_clone() }
    }
}

impl Matcher {
    /// Writes the tokens allowed next, one bit each; beyond the vocabulary none.
    pub fn fill(&mut self, bits: &mut [u32]) -> Outcome<()> {
        let mask = self.inner.compute_mask_or_eos().map_err(|e| refused(&e.to_string()))?;
        let words = mask.as_slice();
        bits.fill(0);
        let count = bits.len().min(words.len());
        bits[..count].copy_from_slice(&words[..count]);
        Ok(())
    }

    /// Takes the sampled token; true when no token can follow.
    pub fn consume(&mut self, id: i32) -> Outcome<bool> {
        self.inner.consume_token(id as u32).map_err(|e| refused(&e.to_string()))?;
        Ok(self.inner.is_stopped())
    }
}

fn compile(vocabulary: &Vocabulary, kind: Kind, text: &str) -> Outcome<llguidance::Matcher> {
    let grammar = match kind {
        Kind::JsonSchema => TopLevelGrammar::from_json_schema(schema(text)?),
        Kind::Regex => TopLevelGrammar::from_regex(regex(text)?),
        Kind::Lark => TopLevelGrammar::from_lark(text.to_string()),
    };
    let parser = vocabulary.factory.create_parser(grammar);
    let mut matcher = llguidance::Matcher::new(Ok(parser.map_err(|e| refused(&e.to_string()))?));
    // The first mask shows whether anything can match, and every text starts with what it computed.
    matcher.compute_mask_or_eos().map_err(|e| refused(&e.to_string()))?;
    Ok(matcher)
}

/// Whitespace between a JSON text's tokens is bounded: a model that falls to writing it would
/// otherwise never end.
fn schema(text: &str) -> Outcome<Value> {
    let schema: Value = serde_json::from_str(text)
        .map_err(|e| Failure::invalid(format!("is no valid JSON: {e}")))?;
    let mut object = match schema {
        Value::Object(object) => object,
        Value::Bool(true) => serde_json::Map::new(),
        Value::Bool(false) => return Err(Failure::invalid("no value satisfies the schema false")),
        _ => return Err(Failure::invalid("a JSON schema is an object")),
    };
    let options = json!({"whitespace_pattern": r"[\x20\x0A\x0D\x09]{1,64}"});
    object.insert("x-guidance".to_string(), options);
    Ok(Value::Object(object))
}

/// The pattern without anchors at its ends: it is matched as a whole anyway.
fn regex(text: &str) -> Outcome<&str> {
    let hir = regex_syntax::Parser::new().parse(text).map_err(|e| {
        let message = e.to_string(); // several lines of picture, then the reason
        let reason = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Failure::invalid(format!("is no valid regular expression: {reason}"))
    })?;
    let HirKind::Concat(parts) = hir.kind() else {
        return Ok(text);
    };
    let is = |part: Option<&regex_syntax::hir::Hir>, look| {
        part.is_some_and(|part| matches!(part.kind(), HirKind::Look(l) if *l == look))
    };
    let mut rest = text;
    if is(parts.first(), Look::Start) {
        rest = rest.strip_prefix('^').unwrap_or(rest);
    }
    if is(parts.last(), Look::End) {
        rest = rest.strip_suffix('$').unwrap_or(rest);
    }
    Ok(rest)
}

/// The library's reason without what it adds for its own developers.
fn refused(message: &str) -> Failure {
    if message.starts_with("panic") {
        return too_complex(message);
    }
    let end = message.find("\n<").unwrap_or(message.len());
    let reason: String = message[..end].chars().take(300).collect();
    Failure::invalid(if reason == "NoExtensionBias" {
        "no token can follow".to_string()
    } else {
        reason
    })
}

/// The library asserts its own limits here and there.
fn too_complex(panic: &str) -> Failure {
    let reason: String = panic.lines().next().unwrap_or_default().chars().take(200).collect();
    Failure::invalid(format!("is too complex ({reason})"))
}

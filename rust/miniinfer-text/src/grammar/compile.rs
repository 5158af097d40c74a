//! From a constraint's text to a matcher of tokens, within the limits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

use llguidance::api::TopLevelGrammar;
use regex_syntax::hir::{HirKind, Look};
use serde_json::{json, Value};

use super::account::Share;
use super::gbnf;
use super::limits::{
    COMPILE_STACK_BYTES, COMPILE_TIME, LEAST_NUMBER, MAX_ABANDONED, MAX_COMPILED_BYTES,
    MAX_DIVISOR, MAX_LEARNED_BYTES, MAX_MATCHER_BYTES, MAX_RULES, MAX_TEXT_BYTES,
};
use super::matcher::{refused, too_complex};
use super::{Matcher, Vocabulary};
use crate::failure::{Failure, Outcome};
use crate::ffi::caught;
use crate::memory::weigh;

#[derive(Clone, Copy)]
pub enum Kind {
    JsonSchema,
    Regex,
    Lark,
}

/// Compiled once, for any number of texts.
pub struct Grammar {
    fresh: Mutex<Matcher>,
    /// Of `fresh`, readable while somebody copies it.
    bytes: AtomicUsize,
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
            Ok(compiled) => Ok(Self::from(compiled?)),
            Err(_) => {
                // Before the channel closes, and so before the thread can find it closed.
                ABANDONED.fetch_add(1, Ordering::SeqCst);
                Err(Failure::invalid("takes too long to compile"))
            }
        }
    }

    fn from(fresh: Matcher) -> Self {
        Self { bytes: AtomicUsize::new(fresh.bytes()), fresh: Mutex::new(fresh) }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Later texts start with the caches of a text that has ended, where it computed more.
    pub fn learn(&self, mut matcher: Matcher) {
        let mut fresh = self.fresh.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (Some(known), Some(learned)) = (fresh.learned(), matcher.learned()) else {
            return;
        };
        if learned > known && learned <= MAX_LEARNED_BYTES {
            matcher.forget_text();
            self.bytes.store(matcher.bytes(), Ordering::Relaxed);
            *fresh = matcher;
        }
    }

    /// Its caches are the text's own: another text can neither fill nor break them.
    pub fn matcher(&self) -> Outcome<Matcher> {
        let fresh = self.fresh.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let matcher = fresh.independent();
        drop(fresh);
        matcher.check_size(MAX_MATCHER_BYTES)?;
        Ok(matcher)
    }
}

fn compile(vocabulary: &Vocabulary, kind: Kind, text: &str) -> Outcome<Matcher> {
    check_divisors(text)?;
    if !matches!(kind, Kind::Regex) {
        check_numbers(text)?;
    }
    if matches!(kind, Kind::Lark) {
        check_rules(text)?;
    }
    let grammar = match kind {
        Kind::JsonSchema => TopLevelGrammar::from_json_schema(schema(text)?),
        Kind::Regex => {
            // \d is 0 to 9, as almost everybody means it; both readings match the text then.
            let pattern = llguidance::regex_to_lark(regex(text)?, "d");
            TopLevelGrammar::from_lark(format!("start: /{pattern}/"))
        }
        Kind::Lark if gbnf::is_gbnf(text) => TopLevelGrammar::from_lark(gbnf::to_lark(text)?),
        Kind::Lark => TopLevelGrammar::from_lark(text.to_string()),
    };
    let create = || vocabulary.factory.create_parser(grammar);
    let (parser, bytes) = weigh(create);
    let parser = parser.map_err(|e| refused(&e.to_string()))?;
    let mut matcher = Matcher::new(parser, Share::new(vocabulary.account.clone()), bytes);
    // The first mask shows whether anything can match, and every text starts with what it computed.
    matcher.fill(&mut [])?;
    matcher.check_size(MAX_COMPILED_BYTES)?;
    Ok(matcher)
}

/// Both notations define a rule a line: a name, then a colon.
fn check_rules(text: &str) -> Outcome<()> {
    let defines = |line: &&str| {
        let first = line.trim_start().chars().next();
        first.is_some_and(|c| c.is_alphanumeric() || "_-?!%".contains(c)) && line.contains(':')
    };
    match text.lines().filter(defines).count() > MAX_RULES {
        true => Err(Failure::invalid(format!("has more than {MAX_RULES} rules"))),
        false => Ok(()),
    }
}

/// Numbers that must be a multiple of n are matched by n states, those of two such constraints by
/// their least common multiple.
fn check_divisors(text: &str) -> Outcome<()> {
    let mut multiple = 1u64;
    for part in text.split("\"multipleOf\"").skip(1) {
        let value = part.trim_start().strip_prefix(':').unwrap_or_default().trim_start();
        let mantissa = value.split(|c: char| !(c.is_ascii_digit() || c == '.')).next();
        let digits: String = mantissa.unwrap_or_default().chars().filter(|c| *c != '.').collect();
        let divisor: u64 = match digits.trim_matches('0') {
            "" => continue,
            digits => digits.parse().unwrap_or(u64::MAX),
        };
        multiple = divisor / gcd(multiple, divisor) * multiple;
        if divisor > MAX_DIVISOR || multiple > MAX_DIVISOR {
            return Err(Failure::invalid("multipleOf has too many digits"));
        }
    }
    Ok(())
}

/// The library negates bounds of 64 bits: the least of them is its own negative, and a range from it
/// to itself recurs until the stack ends.
fn check_numbers(text: &str) -> Outcome<()> {
    for part in text.split('-').skip(1) {
        let end = part.find(|c: char| !(c.is_ascii_digit() || ".eE+".contains(c)));
        let number = &part[..end.unwrap_or(part.len())];
        if number.parse::<f64>().is_ok_and(|value| -value < LEAST_NUMBER) {
            return Err(Failure::invalid(format!("-{number} is below what numbers may be")));
        }
    }
    Ok(())
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
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

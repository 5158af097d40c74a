//! Exported functions of grammars. Safety of all: pointers are valid for the sizes given, and
//! handles came from this library and were not freed.
#![allow(clippy::missing_safety_doc)]

use std::sync::Arc;

use crate::failure::Failure;
use crate::ffi::{caught, guard, text_arg, Bytes};
use crate::ffi_tokenizer::TokenizerHandle;
use crate::grammar::{Grammar, Kind, Matcher, Vocabulary};

pub struct VocabularyHandle(Arc<Vocabulary>);

#[no_mangle]
pub unsafe extern "C" fn mi_text_vocabulary_new(
    tokenizer: &TokenizerHandle,
    size: usize,
    eos_ids: *const i32,
    eos_count: usize,
    out: *mut *mut VocabularyHandle,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let eos = if eos_count == 0 { &[] } else { std::slice::from_raw_parts(eos_ids, eos_count) };
        let vocabulary = Vocabulary::new(tokenizer.0.clone(), size, eos)?;
        out.write(Box::into_raw(Box::new(VocabularyHandle(Arc::new(vocabulary)))));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_vocabulary_free(vocabulary: *mut VocabularyHandle) {
    if !vocabulary.is_null() {
        let _ = caught(|| drop(Box::from_raw(vocabulary)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_grammar_new(
    vocabulary: &VocabularyHandle,
    kind: i32,
    text: *const u8,
    size: usize,
    out: *mut *mut Grammar,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let kind = match kind {
            0 => Kind::JsonSchema,
            1 => Kind::Regex,
            2 => Kind::Lark,
            _ => return Err(Failure::invalid("no such kind of grammar")),
        };
        let text = text_arg(text, size, "the text")?;
        let grammar = Grammar::new(vocabulary.0.clone(), kind, text)?;
        out.write(Box::into_raw(Box::new(grammar)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_grammar_free(grammar: *mut Grammar) {
    if !grammar.is_null() {
        let _ = caught(|| drop(Box::from_raw(grammar)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_grammar_bytes(grammar: &Grammar) -> usize {
    grammar.bytes()
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_matcher_new(
    grammar: &Grammar,
    out: *mut *mut Matcher,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write(Box::into_raw(Box::new(grammar.matcher()?)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_grammar_learn(grammar: &Grammar, matcher: *mut Matcher) {
    if !matcher.is_null() {
        let _ = caught(|| grammar.learn(*Box::from_raw(matcher)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_matcher_free(matcher: *mut Matcher) {
    if !matcher.is_null() {
        let _ = caught(|| drop(Box::from_raw(matcher)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_matcher_fill(
    matcher: &mut Matcher,
    bits: *mut u32,
    words: usize,
    error: *mut Bytes,
) -> i32 {
    guard(error, || matcher.fill(std::slice::from_raw_parts_mut(bits, words)))
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_matcher_consume(
    matcher: &mut Matcher,
    id: i32,
    complete: *mut bool,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        complete.write(matcher.consume(id)?);
        Ok(())
    })
}

//! Exported functions of the tokenizer and the detokenizer. Safety of all: pointers are valid for
//! the sizes given, and handles came from this library and were not freed.
#![allow(clippy::missing_safety_doc)]

use std::sync::Arc;

use crate::decode::Stream;
use crate::failure::Outcome;
use crate::ffi::{bytes_arg, caught, guard, text_arg, Bytes, Ids};
use crate::tokenizer::{Specials, Tokenizer};

pub struct TokenizerHandle(pub Arc<Tokenizer>);

pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    stream: Stream,
    skip_special_tokens: bool,
}

impl Detokenizer {
    fn push(&mut self, id: i32) -> Outcome<String> {
        let mut text = String::new();
        if let Some(token) = self.tokenizer.decoded_token(id, self.skip_special_tokens)? {
            self.stream.push(&self.tokenizer.decoding, token, &mut text)?;
        }
        Ok(text)
    }

    fn finish(&mut self) -> Outcome<String> {
        let mut text = String::new();
        self.stream.finish(&self.tokenizer.decoding, &mut text)?;
        Ok(text)
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_tokenizer_new(
    json: *const u8,
    json_size: usize,
    config: *const u8,
    config_size: usize,
    out: *mut *mut TokenizerHandle,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let tokenizer = Tokenizer::new(bytes_arg(json, json_size), bytes_arg(config, config_size))?;
        out.write(Box::into_raw(Box::new(TokenizerHandle(Arc::new(tokenizer)))));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_tokenizer_free(tokenizer: *mut TokenizerHandle) {
    if !tokenizer.is_null() {
        let _ = caught(|| drop(Box::from_raw(tokenizer)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_encode(
    tokenizer: &TokenizerHandle,
    text: *const u8,
    size: usize,
    add_special_tokens: bool,
    parse_special: bool,
    out: *mut Ids,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let text = text_arg(text, size, "the text")?;
        let specials = if parse_special { Specials::Parse } else { Specials::AsText };
        out.write(Ids::from_vec(tokenizer.0.encode(text, add_special_tokens, specials)?));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_decode(
    tokenizer: &TokenizerHandle,
    ids: *const i32,
    count: usize,
    skip_special_tokens: bool,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let ids = if count == 0 { &[] } else { std::slice::from_raw_parts(ids, count) };
        out.write(Bytes::from_string(tokenizer.0.decode(ids, skip_special_tokens)?));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_vocab_size(tokenizer: &TokenizerHandle) -> i64 {
    tokenizer.0.vocab_size()
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_token_to_id(
    tokenizer: &TokenizerHandle,
    token: *const u8,
    size: usize,
) -> i32 {
    let id = caught(|| tokenizer.0.token_to_id(text_arg(token, size, "the token").ok()?));
    id.ok().flatten().map_or(-1, |id| id as i32)
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_id_to_token(
    tokenizer: &TokenizerHandle,
    id: i32,
    out: *mut Bytes,
) -> bool {
    match caught(|| tokenizer.0.id_to_token(id)) {
        Ok(Some(token)) => {
            out.write(Bytes::from_string(token));
            true
        }
        _ => false,
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_is_special(tokenizer: &TokenizerHandle, id: i32) -> bool {
    tokenizer.0.is_special(id)
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_bos_id(tokenizer: &TokenizerHandle) -> i32 {
    tokenizer.0.bos.as_ref().map_or(-1, |(_, id)| *id as i32)
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_eos_id(tokenizer: &TokenizerHandle) -> i32 {
    tokenizer.0.eos.as_ref().map_or(-1, |(_, id)| *id as i32)
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_bos_token(tokenizer: &TokenizerHandle, out: *mut Bytes) {
    let token = tokenizer.0.bos.as_ref().map(|(token, _)| token.clone());
    out.write(Bytes::from_string(token.unwrap_or_default()));
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_eos_token(tokenizer: &TokenizerHandle, out: *mut Bytes) {
    let token = tokenizer.0.eos.as_ref().map(|(token, _)| token.clone());
    out.write(Bytes::from_string(token.unwrap_or_default()));
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_detokenizer_new(
    tokenizer: &TokenizerHandle,
    skip_special_tokens: bool,
) -> *mut Detokenizer {
    let tokenizer = tokenizer.0.clone();
    let stream = tokenizer.decoding.start();
    Box::into_raw(Box::new(Detokenizer { tokenizer, stream, skip_special_tokens }))
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_detokenizer_free(detokenizer: *mut Detokenizer) {
    if !detokenizer.is_null() {
        let _ = caught(|| drop(Box::from_raw(detokenizer)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_detokenizer_push(
    detokenizer: &mut Detokenizer,
    id: i32,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write(Bytes::from_string(detokenizer.push(id)?));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_detokenizer_finish(
    detokenizer: &mut Detokenizer,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write(Bytes::from_string(detokenizer.finish()?));
        Ok(())
    })
}

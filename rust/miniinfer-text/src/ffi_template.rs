//! Exported functions of chat templates. Safety of all: pointers are valid for the sizes given, and
//! handles came from this library and were not freed.
#![allow(clippy::missing_safety_doc)]

use crate::failure::Outcome;
use crate::ffi::{bytes_arg, caught, guard, text_arg, Bytes, Ids};
use crate::ffi_tokenizer::TokenizerHandle;
use crate::template::{Chat, Template};

#[repr(C)]
pub struct ChatArgs {
    messages: *const u8,
    messages_size: usize,
    tools: *const u8,
    tools_size: usize,
    kwargs: *const u8,
    kwargs_size: usize,
    add_generation_prompt: bool,
}

impl ChatArgs {
    unsafe fn chat(&self) -> Outcome<Chat<'_>> {
        Ok(Chat {
            messages: text_arg(self.messages, self.messages_size, "messages")?,
            tools: text_arg(self.tools, self.tools_size, "tools")?,
            kwargs: text_arg(self.kwargs, self.kwargs_size, "chat_template_kwargs")?,
            add_generation_prompt: self.add_generation_prompt,
        })
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_template_new(
    source: *const u8,
    source_size: usize,
    config: *const u8,
    config_size: usize,
    out: *mut *mut Template,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let source = std::str::from_utf8(bytes_arg(source, source_size)).map_err(|_| {
            crate::failure::Failure::corrupt("chat_template.jinja: not valid UTF-8")
        })?;
        let template = Template::new(source, bytes_arg(config, config_size))?;
        out.write(
            template.map_or(std::ptr::null_mut(), |template| Box::into_raw(Box::new(template))),
        );
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_template_free(template: *mut Template) {
    if !template.is_null() {
        let _ = caught(|| drop(Box::from_raw(template)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_template_render(
    template: &Template,
    chat: &ChatArgs,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        out.write(Bytes::from_string(template.render(&chat.chat()?)?));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mi_text_encode_chat(
    tokenizer: &TokenizerHandle,
    template: &Template,
    chat: &ChatArgs,
    ids: *mut Ids,
    rendered: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let (text, tokens) = template.encode(&tokenizer.0, &chat.chat()?)?;
        ids.write(Ids::from_vec(tokens));
        rendered.write(Bytes::from_string(text));
        Ok(())
    })
}

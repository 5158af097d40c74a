//! Tokenizers, chat templates and grammars for MiniInfer. Everything outside Rust goes through the C ABI in
//! `ffi_*.rs`; the declarations are in `include/miniinfer_text.h`.

mod decode;
mod failure;
mod ffi;
mod ffi_grammar;
mod ffi_template;
mod ffi_tokenizer;
mod grammar;
mod llama_class;
mod load;
mod memory;
mod model_file;
mod pre_tokenize;
mod python_json;
mod template;
mod tokenizer;
mod tokenizer_config;

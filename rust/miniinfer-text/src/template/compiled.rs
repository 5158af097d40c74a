//! One template: parsed, guarded, compiled, and run.

use std::collections::BTreeMap;

use minijinja::machinery::{eval, make_string_output, parse, CodeGenerator, Instructions};
use minijinja::{AutoEscape, Environment, Error, Value};

use super::guard::{self, failed, MAX_TEXT};
use super::{environment, generation_tag, rewrite};

const NAME: &str = "chat_template";

pub struct Compiled {
    // Both borrow from `source`, so they stand, and are dropped, before it.
    instructions: Instructions<'static>,
    blocks: BTreeMap<&'static str, Instructions<'static>>,
    _source: Box<str>,
}

impl Compiled {
    pub fn new(source: &str) -> Result<Self, Error> {
        let source = generation_tag::without(source).into_boxed_str();
        // SAFETY: the text is on the heap, is never changed, and outlives what borrows it, which never leaves `self`.
        let text: &'static str = unsafe { &*std::ptr::from_ref::<str>(&source) };
        let tree = parse(text, NAME, environment::syntax())?;
        let mut generator = CodeGenerator::new(NAME, text);
        generator.compile_stmt(&rewrite::guarded(&tree));
        let (instructions, blocks) = generator.finish();
        Ok(Self { instructions, blocks, _source: source })
    }

    pub fn render(&self, environment: &Environment, variables: Value, mark: Option<char>) -> Result<String, Error> {
        guard::with_budget(mark, || {
            let mut text = String::new();
            let mut out = make_string_output(&mut text);
            eval(environment, &self.instructions, variables, &self.blocks, &mut out, AutoEscape::None)?;
            drop(out);
            if text.len() > MAX_TEXT {
                return Err(failed("the rendered prompt is larger than 8 MiB"));
            }
            Ok(text)
        })
    }
}

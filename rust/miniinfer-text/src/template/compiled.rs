//! One template: parsed, guarded, compiled, and run.

use std::collections::BTreeMap;

use minijinja::machinery::{eval, make_string_output, parse, CodeGenerator, Instructions};
use minijinja::{AutoEscape, Environment, Error, Value};

use super::guard::{self, failed, MAX_TEXT};
use super::{environment, generation_tag, rewrite};
use crate::ffi::caught;

const NAME: &str = "chat_template";
/// Published templates have up to 20 KB.
const MAX_SOURCE: usize = 1 << 20;
/// Words and signs of one tag. A chain of operators nests as deep as it is long.
const MAX_TAG_TOKENS: usize = 20_000;
/// Compiling recurses along operator and elif chains: within the limits above, at most 100,000
/// deep.
const COMPILE_STACK: usize = 256 << 20;

pub struct Compiled {
    // Both borrow from `source`, so they stand, and are dropped, before it.
    instructions: Instructions<'static>,
    blocks: BTreeMap<&'static str, Instructions<'static>>,
    _source: Box<str>,
}

impl Compiled {
    pub fn new(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_SOURCE {
            return Err(failed("the template is larger than 1 MiB"));
        }
        check_tags(source)?;
        let compile =
            || caught(|| Self::compile(source)).unwrap_or_else(|panic| Err(failed(panic)));
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().stack_size(COMPILE_STACK);
            let thread = builder
                .spawn_scoped(scope, compile)
                .map_err(|e| failed(format!("no thread: {e}")))?;
            thread.join().unwrap_or_else(|_| Err(failed("the compiler panicked")))
        })
    }

    fn compile(source: &str) -> Result<Self, Error> {
        let source = generation_tag::without(source).into_boxed_str();
        // SAFETY: the text is on the heap, is never changed, and outlives what borrows it, which
        // never leaves `self`.
        let text: &'static str = unsafe { &*std::ptr::from_ref::<str>(&source) };
        let tree = parse(text, NAME, environment::syntax())?;
        let mut generator = CodeGenerator::new(NAME, text);
        generator.compile_stmt(&rewrite::guarded(&tree));
        let (instructions, blocks) = generator.finish();
        Ok(Self { instructions, blocks, _source: source })
    }

    pub fn render(
        &self,
        environment: &Environment,
        variables: Value,
        mark: Option<char>,
    ) -> Result<String, Error> {
        guard::with_budget(mark, || {
            let mut text = String::new();
            let mut out = make_string_output(&mut text);
            eval(
                environment,
                &self.instructions,
                variables,
                &self.blocks,
                &mut out,
                AutoEscape::None,
            )?;
            drop(out);
            if text.len() > MAX_TEXT {
                return Err(failed("the rendered prompt is larger than 8 MiB"));
            }
            Ok(text)
        })
    }
}

/// Refuses tags with too many tokens, counted roughly: changes between words, spaces and signs
/// outside strings.
fn check_tags(source: &str) -> Result<(), Error> {
    let mut tokens = 0;
    let mut inside = false;
    let mut quote = None;
    let mut previous = (b' ', false);
    for byte in source.bytes() {
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        match (inside, quote) {
            (false, _) => {
                inside = previous.0 == b'{' && matches!(byte, b'{' | b'%');
                tokens = 0;
            }
            (true, Some(open)) if byte == open && previous.0 != b'\\' => quote = None,
            (true, Some(_)) => {}
            (true, None) => {
                inside = !(byte == b'}' && matches!(previous.0, b'}' | b'%'));
                quote = matches!(byte, b'"' | b'\'').then_some(byte);
                tokens += usize::from(!byte.is_ascii_whitespace() && !(word && previous.1));
                if tokens > MAX_TAG_TOKENS {
                    return Err(failed("a tag of the template is too long"));
                }
            }
        }
        previous = (byte, word);
    }
    Ok(())
}

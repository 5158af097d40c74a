//! The Jinja environment of transformers: white space control, its filters and functions, Python's methods; and bounds.

use std::cell::Cell;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Template, UndefinedBehavior, Value};

use crate::python_json::{dumps, JsonStyle};

/// Instructions; a long chat with tools takes some 10,000.
const FUEL: u64 = 5_000_000;
/// Nested macro calls and includes.
const RECURSION: usize = 100;
/// Bytes of a rendered prompt.
pub const MAX_OUTPUT: usize = 8 << 20;

thread_local! {
    /// The mark of the render in progress on this thread; `tojson` writes it unescaped.
    static MARK: Cell<Option<char>> = const { Cell::new(None) };
}

pub fn new() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.remove_global("debug");
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
}

pub fn render(template: &Template, variables: Value, mark: Option<char>) -> Result<String, Error> {
    MARK.set(mark);
    let mut out = BoundedWriter::default();
    let result = template.render_captured_to(variables, &mut out);
    MARK.set(None);
    if out.full {
        return Err(Error::new(ErrorKind::InvalidOperation, "the rendered prompt is larger than 8 MiB"));
    }
    result?;
    String::from_utf8(out.bytes).map_err(|_| Error::new(ErrorKind::InvalidOperation, "the prompt is not UTF-8"))
}

#[derive(Default)]
struct BoundedWriter {
    bytes: Vec<u8>,
    full: bool,
}

impl std::io::Write for BoundedWriter {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + data.len() > MAX_OUTPUT {
            self.full = true;
            return Err(std::io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> Result<String, Error> {
    jiff::fmt::strtime::format(&format, &jiff::Zoned::now())
        .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
}

/// tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)
fn to_json(value: &Value, ascii: Option<Value>, indent: Option<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let named = |name: &str| kwargs.get::<Option<Value>>(name);
    let ensure_ascii = ascii.or(named("ensure_ascii")?).is_some_and(|v| v.is_true());
    let indent = match indent.or(named("indent")?).filter(|v| !v.is_none()) {
        None => None,
        Some(width) => Some(match width.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(i64::try_from(width)?.clamp(0, 64) as usize),
        }),
    };
    let mut separators = [if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()];
    if let Some(given) = named("separators")?.filter(|v| !v.is_none()) {
        for (index, separator) in separators.iter_mut().enumerate() {
            *separator = given.get_item(&Value::from(index))?.to_string();
        }
    }
    let sort_keys = named("sort_keys")?.is_some_and(|v| v.is_true());
    kwargs.assert_all_used()?;
    let [item_separator, key_separator] = separators;
    dumps(
        value,
        &JsonStyle {
            ensure_ascii,
            indent,
            item_separator,
            key_separator,
            sort_keys,
            verbatim: MARK.get(),
            max_size: MAX_OUTPUT,
        },
    )
}

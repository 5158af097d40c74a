//! The Jinja environment of transformers: white space control, its filters and functions, Python's
//! methods; and bounds.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::printing::append_str;
use super::{filters, guard, jinja_tests, methods};

/// Instructions; a long chat with tools takes some 10,000.
const FUEL: u64 = 5_000_000;
/// Nested calls; the engine counts 4 for a macro.
const RECURSION: usize = 200;

pub fn new() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, _, value| {
        if let Some(text) = value.as_str() {
            guard::charge_emitted(text.len())?;
            out.write_str(text)?;
        } else {
            let mut text = String::new();
            append_str(value, &mut text)?;
            guard::charge_emitted(text.len())?;
            out.write_str(&text)?;
        }
        Ok(())
    });
    filters::install(&mut environment);
    jinja_tests::install(&mut environment);
    environment
}

pub fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    syntax.expect("the default delimiters are valid")
}

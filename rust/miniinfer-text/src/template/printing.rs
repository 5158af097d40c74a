//! `str` and `repr` of Python: what `{{ value }}`, `~`, `string` and `join` print.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::guard::{self, failed, MAX_TEXT};
use crate::python_json::float;

/// What a container of `guard::MAX_DEPTH` prints recurses this deep.
const MAX_DEPTH: usize = 256;

pub fn append_str(value: &Value, out: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => out.push_str(value.as_str().unwrap_or_default()),
        ValueKind::Undefined => {}
        _ => append_repr(value, 0, out)?,
    }
    if out.len() > MAX_TEXT {
        return Err(failed("a text in the template is larger than 8 MiB"));
    }
    Ok(())
}

fn append_repr(value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > MAX_DEPTH || out.len() > MAX_TEXT {
        return Err(failed("a printed value is too large or too deep"));
    }
    match value.kind() {
        ValueKind::String => append_quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::Number if !value.is_integer() => append_float(value, out),
        ValueKind::Seq | ValueKind::Iterable => {
            let tuple = value.is_tuple();
            out.push(if tuple { '(' } else { '[' });
            let mut count = 0;
            for item in value.try_iter()? {
                out.push_str(if count > 0 { ", " } else { "" });
                append_repr(&item, depth + 1, out)?;
                count += 1;
            }
            out.push_str(match (tuple, count) {
                (true, 1) => ",)",
                (true, _) => ")",
                (false, _) => "]",
            });
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                append_repr(&key, depth + 1, out)?;
                out.push_str(": ");
                append_repr(&value.get_item(&key)?, depth + 1, out)?;
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

fn append_float(value: &Value, out: &mut String) {
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_nan() => out.push_str("nan"),
        Ok(number) if number.is_infinite() => {
            out.push_str(if number > 0.0 { "inf" } else { "-inf" })
        }
        Ok(number) => out.push_str(&float(number)),
        Err(_) => out.push_str(&value.to_string()),
    }
}

fn append_quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if printable(c) || Some(c) == guard::mark() => out.push(c),
            c => {
                let code = c as u32;
                out.push_str(&match code {
                    0..=0xFF => format!("\\x{code:02x}"),
                    0x100..=0xFFFF => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable`, but for unassigned characters.
fn printable(c: char) -> bool {
    !matches!(c,
        '\0'..='\x1F' | '\x7F'..='\u{A0}' | '\u{AD}' | '\u{600}'..='\u{605}' | '\u{61C}' |
        '\u{6DD}' | '\u{70F}' | '\u{1680}' | '\u{180E}' | '\u{2000}'..='\u{200F}' |
        '\u{2028}'..='\u{202F}' | '\u{205F}'..='\u{206F}' | '\u{3000}' | '\u{E000}'..='\u{F8FF}'
        | '\u{FEFF}' | '\u{FFF0}'..='\u{FFFB}' | '\u{FFFE}'..='\u{FFFF}' |
        '\u{E0000}'..='\u{E0FFF}' | '\u{F0000}'..='\u{10FFFF}')
}

//! `json.dumps` of Python, for the template filter `tojson`: its separators, indentation, key order
//! and floats.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Deeper values do not come from JSON, whose own limit is 128.
const MAX_DEPTH: usize = 200;

pub struct JsonStyle {
    pub ensure_ascii: bool,
    /// None: everything on one line.
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
    /// Written as it is, whatever `ensure_ascii` says.
    pub verbatim: Option<char>,
    pub max_size: usize,
}

pub fn dumps(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut out = String::new();
    write_value(value, style, 0, &mut out)?;
    Ok(out)
}

fn unserializable(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("{what} is not JSON serializable"))
}

fn write_value(
    value: &Value,
    style: &JsonStyle,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(unserializable("a value this deep"));
    }
    if out.len() > style.max_size {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: the result is too large"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => write_string(value.as_str().unwrap_or_default(), style, out),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_items(items.len(), ['[', ']'], style, depth, out, |index, out| {
                write_value(&items[index], style, depth + 1, out)
            })?;
        }
        ValueKind::Map => write_map(value, style, depth, out)?,
        ValueKind::Undefined => return Err(unserializable("Undefined")),
        other => return Err(unserializable(other)),
    }
    Ok(())
}

fn write_map(
    value: &Value,
    style: &JsonStyle,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let mut entries = Vec::new();
    for key in value.try_iter()? {
        entries.push((key_text(&key)?, value.get_item(&key)?));
    }
    if style.sort_keys {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
    }
    write_items(entries.len(), ['{', '}'], style, depth, out, |index, out| {
        let (key, value) = &entries[index];
        write_string(key, style, out);
        out.push_str(&style.key_separator);
        write_value(value, style, depth + 1, out)
    })
}

fn write_items(
    count: usize,
    brackets: [char; 2],
    style: &JsonStyle,
    depth: usize,
    out: &mut String,
    mut write: impl FnMut(usize, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    out.push(brackets[0]);
    for index in 0..count {
        if index > 0 {
            out.push_str(&style.item_separator);
        }
        new_line(style, depth + 1, out);
        write(index, out)?;
    }
    if count > 0 {
        new_line(style, depth, out);
    }
    out.push(brackets[1]);
    Ok(())
}

fn new_line(style: &JsonStyle, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_string()),
        ValueKind::Number => Ok(number(key)),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_string()),
        ValueKind::None => Ok("null".to_string()),
        other => Err(unserializable(format!("a key that is a {other}"))),
    }
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float)
}

/// `repr(float)`: the shortest digits that round trip, an exponent below 1e-4 and from 1e16.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}

fn write_string(text: &str, style: &JsonStyle, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{C}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if style.ensure_ascii && (c as u32) >= 0x7F && Some(c) != style.verbatim => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

//! Filters and functions that transformers defines, that Jinja has and the engine lacks, or that
//! could build something far larger than their arguments.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{filters, Environment, Error, State, Value};

use super::for_else;
use super::guard::{self, allow_items, allow_text, failed, MAX_TEXT};
use super::printing::append_str;
use super::rewrite;
use crate::python_json::{dumps, JsonStyle};

pub fn install(environment: &mut Environment<'static>) {
    environment.add_filter(rewrite::CHECK, guard::check);
    environment.add_filter(rewrite::MADE, guard::made);
    environment.add_filter(rewrite::ATTRIBUTE, guard::attribute);
    environment.add_filter(rewrite::CONCAT, concat);
    environment.add_filter(rewrite::PERCENT, percent);
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", string);
    environment.add_filter("pprint", string);
    environment.add_filter("join", join);
    environment.add_filter("replace", replace);
    environment.add_filter("indent", indent);
    environment.add_filter("batch", batch);
    environment.add_filter("slice", slice);
    environment.add_filter("format", |format: String, args: Rest<Value>| printf(&format, &args));
    environment.add_filter("center", center);
    environment.add_filter("wordcount", word_count);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.remove_global("debug");
    environment.add_function("namespace", namespace);
    environment.add_function(for_else::NAMESPACE, namespace);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
}

fn concat(left: &Value, right: &Value) -> Result<String, Error> {
    let mut out = String::new();
    append_str(left, &mut out)?;
    append_str(right, &mut out)?;
    guard::charge(out.len())?;
    Ok(out)
}

fn string(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    append_str(value, &mut out)?;
    Ok(out)
}

pub fn join_values(items: impl Iterator<Item = Value>, separator: &str) -> Result<String, Error> {
    let mut out = String::new();
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        append_str(&item, &mut out)?;
    }
    guard::charge(out.len())?;
    Ok(out)
}

fn join(
    value: &Value,
    separator: Option<String>,
    attribute: Option<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let separator = separator.or(kwargs.get("d")?).unwrap_or_default();
    let attribute = attribute.or(kwargs.get("attribute")?);
    kwargs.assert_all_used()?;
    let items = value.try_iter()?;
    match attribute {
        None => join_values(items, &separator),
        Some(name) => {
            let parts: Result<Vec<Value>, Error> = items.map(|item| item.get_item(&name)).collect();
            join_values(parts?.into_iter(), &separator)
        }
    }
}

/// `str.replace`, with the size known before anything is built.
pub fn replaced(text: &str, from: &str, to: &str, count: Option<usize>) -> Result<String, Error> {
    let places =
        if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
    let places = count.map_or(places, |count| count.min(places));
    allow_text(places.checked_mul(to.len()).and_then(|added| added.checked_add(text.len())))?;
    Ok(match count {
        Some(count) => text.replacen(from, to, count),
        None => text.replace(from, to),
    })
}

fn replace(value: &Value, from: String, to: String, count: Option<usize>) -> Result<String, Error> {
    replaced(&string(value)?, &from, &to, count)
}

fn indent(
    value: &Value,
    width: Option<Value>,
    first: Option<Value>,
    blank: Option<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let text = string(value)?;
    let width = width.or(kwargs.get("width")?).unwrap_or_default();
    let first = first.or(kwargs.get("first")?).is_some_and(|v| v.is_true());
    let blank = blank.or(kwargs.get("blank")?).is_some_and(|v| v.is_true());
    kwargs.assert_all_used()?;
    let prefix = match width.kind() {
        ValueKind::Undefined => "    ".to_string(),
        ValueKind::String => width.to_string(),
        _ => " ".repeat(usize::try_from(width)?.min(MAX_TEXT)),
    };
    let lines: Vec<&str> = text.split('\n').collect();
    allow_text(
        lines.len().checked_mul(prefix.len()).and_then(|added| added.checked_add(text.len())),
    )?;
    let indented = lines.iter().enumerate().map(|(index, line)| {
        let skip = if index == 0 { !first } else { line.is_empty() && !blank };
        if skip {
            line.to_string()
        } else {
            format!("{prefix}{line}")
        }
    });
    Ok(indented.collect::<Vec<_>>().join("\n"))
}

fn batch(state: &State, value: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    allow_items(count)?;
    filters::batch(state, value, count, fill)
}

fn slice(state: &State, value: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    allow_items(count)?;
    filters::slice(state, value, count, fill)
}

fn percent(format: String, args: &Value) -> Result<String, Error> {
    let args: Vec<Value> =
        if args.is_tuple() { args.try_iter()?.collect() } else { vec![args.clone()] };
    printf(&format, &args)
}

fn printf(format: &str, args: &[Value]) -> Result<String, Error> {
    allow_format(format, args)?;
    minijinja::formatting::format(minijinja::formatting::FormatStyle::Printf, format, args)
}

/// Widths and precisions of a format are at most four digits, and not taken from arguments.
pub fn allow_format(format: &str, args: &[Value]) -> Result<(), Error> {
    let mut digits = 0;
    for byte in format.bytes() {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 4 || byte == b'*' {
            return Err(failed("a format has a width that is too large or not given in it"));
        }
    }
    let fields = format.bytes().filter(|byte| matches!(byte, b'%' | b'{')).count();
    let mut largest = 10_000;
    for arg in args {
        if let Some(text) = arg.as_str() {
            largest = largest.max(text.len());
        }
    }
    allow_text(fields.checked_mul(largest).and_then(|size| size.checked_add(format.len())))
}

/// Runs of letters, digits and underscores.
fn word_count(text: String) -> usize {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    parts.filter(|part| !part.is_empty()).count()
}

fn center(text: String, width: Option<usize>) -> Result<String, Error> {
    padded(&text, width.unwrap_or(80), ' ', Side::Both)
}

#[derive(Clone, Copy)]
pub enum Side {
    Left,
    Right,
    Both,
}

/// The text padded to a width in characters; `side` is where the padding goes.
pub fn padded(text: &str, width: usize, fill: char, side: Side) -> Result<String, Error> {
    let missing = width.saturating_sub(text.chars().count());
    allow_text(missing.checked_mul(4).and_then(|size| size.checked_add(text.len())))?;
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // The odd one goes left when the width is odd too, as in Python.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| std::iter::repeat_n(fill, count);
    Ok(fill(left).chain(text.chars()).chain(fill(missing - left)).collect())
}

/// Jinja's `int` and `float` take the default, 0, instead of failing.
fn int(
    state: &State,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let otherwise = default.clone().or(kwargs.get("default")?).unwrap_or_else(|| Value::from(0));
    let text = value.as_str().map(|text| Value::from(text.trim().replace('_', "")));
    Ok(filters::int(state, text.as_ref().unwrap_or(value), default, base, kwargs)
        .unwrap_or(otherwise))
}

fn float(value: &Value, default: Option<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let otherwise = default.or(kwargs.get("default")?).unwrap_or_else(|| Value::from(0.0));
    kwargs.assert_all_used()?;
    let number = match value.kind() {
        ValueKind::String => value.as_str().and_then(|text| text.trim().parse::<f64>().ok()),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        _ => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or(otherwise, Value::from))
}

fn namespace(defaults: Option<minijinja::value::ValueOrKwargs>) -> Result<Value, Error> {
    let value = minijinja::functions::namespace(defaults)?;
    guard::register_namespace(&value)?;
    Ok(value)
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    Err(failed(string(message)?))
}

fn strftime_now(format: String) -> Result<String, Error> {
    allow_format(&format, &[])?;
    let text = jiff::fmt::strtime::format(&format, &jiff::Zoned::now());
    text.map_err(|e| failed(format!("strftime_now: {e}")))
}

/// tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)
fn to_json(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    separators: Option<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let named = |name: &str| kwargs.get::<Option<Value>>(name);
    let ensure_ascii = ensure_ascii.or(named("ensure_ascii")?).is_some_and(|v| v.is_true());
    let indent = match indent.or(named("indent")?).filter(|v| !v.is_none()) {
        None => None,
        Some(width) => Some(match width.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(i64::try_from(width)?.clamp(0, 64) as usize),
        }),
    };
    let mut marks = [if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()];
    if let Some(given) = separators.or(named("separators")?).filter(|v| !v.is_none()) {
        for (index, mark) in marks.iter_mut().enumerate() {
            *mark = given.get_item(&Value::from(index))?.to_string();
        }
    }
    let sort_keys = named("sort_keys")?.is_some_and(|v| v.is_true());
    kwargs.assert_all_used()?;
    let [item_separator, key_separator] = marks;
    let style = JsonStyle {
        ensure_ascii,
        indent,
        item_separator,
        key_separator,
        sort_keys,
        verbatim: guard::mark(),
        max_size: MAX_TEXT,
    };
    dumps(value, &style)
}

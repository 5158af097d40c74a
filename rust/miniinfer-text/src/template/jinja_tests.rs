//! Where the engine's tests and filters answer otherwise than Jinja's: about None, undefined
//! values, texts and maps.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{filters, Environment, Error, Value};

use super::guard::{self, allow_text, failed};

pub fn install(environment: &mut Environment<'static>) {
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_test("callable", is_callable);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("first", first);
    environment.add_filter("last", last);
    environment.add_filter("truncate", truncate);
}

fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Has a length and items.
fn is_sequence(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map => true,
        ValueKind::Iterable => value.len().is_some(),
        _ => false,
    }
}

fn is_callable(value: &Value) -> bool {
    value.is_undefined() || matches!(value.kind(), ValueKind::Plain) && value.as_object().is_some()
}

fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    match value.as_str() {
        Some(text) => Ok(count(text)),
        None => filters::length(value),
    }
}

/// Characters that the template's author would see: the mark in special-token text is none.
fn count(text: &str) -> usize {
    let mark = guard::mark();
    text.chars().filter(|c| Some(*c) != mark).count()
}

/// So many characters of the text, and the marks among them; a mark at the end, for the cut text
/// may end like the start of a special token.
fn take(text: &str, mut room: usize) -> String {
    let mark = guard::mark();
    let within = |c: &char| {
        let fits = Some(*c) == mark || room > 0;
        room -= usize::from(Some(*c) != mark && fits);
        fits
    };
    text.chars().take_while(within).chain(mark).collect()
}

fn first(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() {
        return Ok(Value::UNDEFINED);
    }
    filters::first(value)
}

fn last(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(value),
        ValueKind::Map => Ok(value.try_iter()?.last().unwrap_or_default()),
        _ => filters::last(value),
    }
}

/// truncate(s, length=255, killwords=False, end='...', leeway=5), the last by name alone.
fn truncate(
    text: String,
    length: Option<usize>,
    killwords: Option<Value>,
    end: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let length = length.or(kwargs.get("length")?).unwrap_or(255);
    let killwords = killwords.or(kwargs.get("killwords")?).is_some_and(|v| v.is_true());
    let end = end.or(kwargs.get("end")?).unwrap_or_else(|| "...".into());
    let leeway = kwargs.get::<Option<usize>>("leeway")?.unwrap_or(5);
    kwargs.assert_all_used()?;
    if count(&text) <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let room = length.checked_sub(end.chars().count());
    let room = room.ok_or_else(|| failed("truncate: length is below that of end"))?;
    let cut = take(&text, room);
    allow_text(cut.len().checked_add(end.len()))?;
    let kept =
        if killwords { &cut } else { cut.rsplit_once(' ').map_or(&cut[..], |(kept, _)| kept) };
    Ok(format!("{kept}{end}"))
}

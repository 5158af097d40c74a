//! Python's methods of strings, lists and dicts that templates call.

use minijinja::value::{from_args, Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::filters::{allow_format, join_values, padded, replaced, Side};
use super::guard::{charge, failed};

pub fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    charge(value.len().unwrap_or(0))?;
    let own = match value.kind() {
        ValueKind::String => string_method(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => list_method(value, method, args)?,
        ValueKind::Map if method == "copy" => Some(value.clone()),
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn string_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let found = |at: Option<usize>| at.map(|at| Value::from(text[..at].chars().count()));
    let result = match method {
        "replace" => {
            let (from, to, count, kwargs): (&str, &str, Option<i64>, Kwargs) = from_args(args)?;
            let count =
                count.or(kwargs.get("count")?).and_then(|count| usize::try_from(count).ok());
            Value::from(replaced(text, from, to, count)?)
        }
        "join" => {
            let (items,): (Value,) = from_args(args)?;
            Value::from(join_values(items.try_iter()?, text)?)
        }
        "format" => {
            allow_format(text, args)?;
            return Ok(None);
        }
        "split" | "rsplit" => {
            let (separator, limit, kwargs): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(kwargs.get("sep")?).filter(|value| !value.is_none());
            let limit = limit.or(kwargs.get("maxsplit")?);
            kwargs.assert_all_used()?;
            let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
            let parts =
                split(text, separator.as_ref().and_then(Value::as_str), limit, method == "rsplit")?;
            Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>())
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let forward = method == "partition";
            let parts = match if forward {
                text.split_once(separator)
            } else {
                text.rsplit_once(separator)
            } {
                Some((before, after)) => [before, separator, after],
                None if forward => [text, "", ""],
                None => ["", "", text],
            };
            Value::from(minijinja::value::Tuple::from(parts.map(Value::from).to_vec()))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            let side = match method {
                "ljust" => Side::Right,
                "rjust" => Side::Left,
                _ => Side::Both,
            };
            Value::from(padded(text, width, fill.unwrap_or(' '), side)?)
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            Value::from(format!(
                "{sign}{}",
                padded(digits, width.saturating_sub(sign.len()), '0', Side::Left)?
            ))
        }
        "swapcase" => text
            .chars()
            .flat_map(|c| {
                if c.is_uppercase() {
                    c.to_lowercase().collect::<Vec<_>>()
                } else {
                    c.to_uppercase().collect()
                }
            })
            .collect::<String>()
            .into(),
        "title" => Value::from(title(text)),
        "casefold" => Value::from(text.to_lowercase()),
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_numeric())),
        "find" | "index" => {
            let (part,): (&str,) = from_args(args)?;
            return found_or(found(text.find(part)), method == "find");
        }
        "rfind" | "rindex" => {
            let (part,): (&str,) = from_args(args)?;
            return found_or(found(text.rfind(part)), method == "rfind");
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// Every letter that follows no letter is a capital, the others are not.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match inside {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        inside = c.is_uppercase() || c.is_lowercase();
    }
    out
}

fn found_or(at: Option<Value>, lenient: bool) -> Result<Option<Value>, Error> {
    match at {
        Some(at) => Ok(Some(at)),
        None if lenient => Ok(Some(Value::from(-1))),
        None => Err(failed("substring not found")),
    }
}

fn split<'a>(
    text: &'a str,
    separator: Option<&str>,
    limit: usize,
    from_right: bool,
) -> Result<Vec<&'a str>, Error> {
    let mut parts = Vec::new();
    let mut rest = text;
    match separator {
        Some("") => return Err(failed("empty separator")),
        Some(separator) if from_right => {
            while let Some((before, after)) =
                (parts.len() < limit).then(|| rest.rsplit_once(separator)).flatten()
            {
                parts.push(after);
                rest = before;
            }
            parts.push(rest);
        }
        Some(separator) => {
            while let Some((before, after)) =
                (parts.len() < limit).then(|| rest.split_once(separator)).flatten()
            {
                parts.push(before);
                rest = after;
            }
            parts.push(rest);
        }
        None if from_right => {
            rest = rest.trim_end();
            while !rest.is_empty() {
                let at = if parts.len() < limit { rest.rfind(char::is_whitespace) } else { None };
                let start =
                    at.map_or(0, |at| at + rest[at..].chars().next().map_or(0, char::len_utf8));
                parts.push(if at.is_none() { rest.trim_start() } else { &rest[start..] });
                rest = at.map_or("", |at| rest[..at].trim_end());
            }
        }
        None => {
            rest = rest.trim_start();
            while !rest.is_empty() {
                let at = if parts.len() < limit { rest.find(char::is_whitespace) } else { None };
                parts.push(at.map_or(rest, |at| &rest[..at]));
                rest = at.map_or("", |at| rest[at..].trim_start());
            }
        }
    }
    if from_right {
        parts.reverse();
    }
    Ok(parts)
}

fn list_method(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "index" => {
            let (wanted,): (Value,) = from_args(args)?;
            let at = list.try_iter()?.position(|item| item == wanted);
            at.map(|at| Some(Value::from(at))).ok_or_else(|| failed("the value is not in the list"))
        }
        "copy" => Ok(Some(list.clone())),
        "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "sort" | "reverse" => {
            Err(Error::new(
                ErrorKind::UnknownMethod,
                format!("{method} would change a list, which the sandbox forbids"),
            ))
        }
        _ => Ok(None),
    }
}

//! What one render may use: time, work, sizes. The state belongs to the thread while it renders.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Bytes of a rendered prompt, and of any string on the way.
pub const MAX_TEXT: usize = 8 << 20;
/// Items of a list or a map.
pub const MAX_ITEMS: usize = 1 << 20;
/// Bytes copied and items visited; a prompt of 1 MiB with tools takes about 10 M.
const WORK: u64 = 1 << 30;
/// Text written anywhere, also into variables and macros.
const EMITTED: u64 = 64 << 20;
/// A render takes 0.1 ms to 10 ms.
const TIME: Duration = Duration::from_secs(2);
/// Containers in a container; JSON itself stops at 128.
const MAX_DEPTH: usize = 200;
const MAX_NODES: usize = 1 << 18;
const MAX_NAMESPACES: usize = 1 << 14;

struct Budget {
    deadline: Instant,
    checks: u32,
    work: u64,
    emitted: u64,
    namespaces: Vec<Value>,
    /// Takes special-token text apart; see `protect.rs`.
    mark: Option<char>,
}

thread_local! {
    static BUDGET: RefCell<Option<Budget>> = const { RefCell::new(None) };
}

/// Runs `render` with a fresh budget.
pub fn with_budget<T>(mark: Option<char>, render: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            BUDGET.with_borrow_mut(|budget| *budget = None);
        }
    }
    let budget = Budget {
        deadline: Instant::now() + TIME,
        checks: 0,
        work: WORK,
        emitted: EMITTED,
        namespaces: Vec::new(),
        mark,
    };
    BUDGET.with_borrow_mut(|slot| *slot = Some(budget));
    let _reset = Reset;
    render()
}

pub fn mark() -> Option<char> {
    BUDGET.with_borrow(|budget| budget.as_ref().and_then(|budget| budget.mark))
}

pub fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Accounts for `amount` bytes or items.
pub fn charge(amount: usize) -> Result<(), Error> {
    BUDGET.with_borrow_mut(|budget| {
        let Some(budget) = budget else { return Ok(()) };
        budget.work = budget.work.saturating_sub(amount as u64 + 1);
        if budget.work == 0 {
            return Err(failed("the template does too much work"));
        }
        budget.checks = budget.checks.wrapping_add(1);
        // A look at the clock takes 20 ns; what is small is looked at in groups.
        if (amount > 4096 || budget.checks % 32 == 0) && Instant::now() > budget.deadline {
            return Err(failed("the template takes too long"));
        }
        Ok(())
    })
}

pub fn charge_emitted(amount: usize) -> Result<(), Error> {
    BUDGET.with_borrow_mut(|budget| {
        let Some(budget) = budget else { return Ok(()) };
        budget.emitted = budget.emitted.saturating_sub(amount as u64);
        if budget.emitted == 0 {
            return Err(failed("the template writes too much text"));
        }
        Ok(())
    })?;
    charge(amount)
}

/// Before a string of `length` bytes is built.
pub fn allow_text(length: Option<usize>) -> Result<(), Error> {
    match length {
        Some(length) if length <= MAX_TEXT => charge(length),
        _ => Err(failed("a text in the template is larger than 8 MiB")),
    }
}

/// Filter CHECK: a result on its way.
pub fn check(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => allow_text(value.as_str().map(str::len))?,
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            allow_items(value.len().unwrap_or(0))?
        }
        _ => charge(0)?,
    }
    Ok(value)
}

pub fn allow_items(count: usize) -> Result<(), Error> {
    if count > MAX_ITEMS {
        return Err(failed("a list in the template has more than 1048576 items"));
    }
    charge(count / 8)
}

/// Filter MADE: a new container. Nothing later can be deeper or larger than what passes here, so
/// that comparing, printing and dropping it, which recurse, end soon.
pub fn made(value: Value) -> Result<Value, Error> {
    let value = check(value)?;
    let mut nodes = 0;
    walk(&value, 0, &mut nodes)?;
    charge(nodes)?;
    Ok(value)
}

fn walk(value: &Value, depth: usize, nodes: &mut usize) -> Result<(), Error> {
    *nodes += 1;
    if *nodes > MAX_NODES || depth > MAX_DEPTH {
        return Err(failed("a container in the template is too large or too deep"));
    }
    match value.kind() {
        ValueKind::Seq => value.try_iter()?.try_for_each(|item| walk(&item, depth + 1, nodes)),
        ValueKind::Map => {
            if depth > 0 && is_namespace(value) {
                return Err(failed("a namespace cannot be put into a container"));
            }
            value.try_iter()?.try_for_each(|key| walk(&value.get_item(&key)?, depth + 1, nodes))
        }
        _ => Ok(()),
    }
}

/// Filter ATTRIBUTE: a namespace in a namespace could be a circle.
pub fn attribute(value: Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Map && is_namespace(&value) {
        return Err(failed("a namespace cannot be put into a namespace"));
    }
    Ok(value)
}

fn is_namespace(value: &Value) -> bool {
    BUDGET.with_borrow(|budget| {
        budget.as_ref().is_some_and(|budget| {
            budget.namespaces.iter().any(|known| minijinja::tests::is_sameas(known, value))
        })
    })
}

/// Remembers a namespace that the template made.
pub fn register_namespace(value: &Value) -> Result<(), Error> {
    BUDGET.with_borrow_mut(|budget| {
        let Some(budget) = budget else { return Ok(()) };
        if budget.namespaces.len() >= MAX_NAMESPACES {
            return Err(failed("the template makes too many namespaces"));
        }
        budget.namespaces.push(value.clone());
        Ok(())
    })
}

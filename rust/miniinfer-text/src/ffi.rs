//! What every exported function shares: buffers, and the guard that turns errors and panics into a
//! status.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

use crate::failure::{Failure, Outcome, Status};

#[repr(C)]
pub struct Bytes {
    data: *mut u8,
    size: usize,
}

#[repr(C)]
pub struct Ids {
    data: *mut i32,
    size: usize,
}

impl Bytes {
    pub fn from_string(text: String) -> Self {
        let slice = Box::leak(text.into_bytes().into_boxed_slice());
        Self { data: slice.as_mut_ptr(), size: slice.len() }
    }
}

impl Ids {
    pub fn from_vec(ids: Vec<i32>) -> Self {
        let slice = Box::leak(ids.into_boxed_slice());
        Self { data: slice.as_mut_ptr(), size: slice.len() }
    }
}

/// # Safety
/// `bytes` came from this library and was not freed.
#[no_mangle]
pub unsafe extern "C" fn mi_text_bytes_free(bytes: Bytes) {
    if !bytes.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(bytes.data, bytes.size)));
    }
}

/// # Safety
/// `ids` came from this library and was not freed.
#[no_mangle]
pub unsafe extern "C" fn mi_text_ids_free(ids: Ids) {
    if !ids.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(ids.data, ids.size)));
    }
}

/// # Safety
/// `data` points to `size` bytes that live for `'a`, or is null with `size` 0.
pub unsafe fn bytes_arg<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// # Safety
/// As for [`bytes_arg`].
pub unsafe fn text_arg<'a>(data: *const u8, size: usize, what: &str) -> Outcome<&'a str> {
    std::str::from_utf8(bytes_arg(data, size)).map_err(|error| {
        Failure::invalid(format!("{what} is not valid UTF-8 at byte {}", error.valid_up_to()))
    })
}

/// Runs `body`; an error or a panic becomes a status and a line in `*error`.
///
/// # Safety
/// `error` is null or may be written.
pub unsafe fn guard(error: *mut Bytes, body: impl FnOnce() -> Outcome<()>) -> i32 {
    let failure = match caught(body) {
        Ok(Ok(())) => return Status::Ok as i32,
        Ok(Err(failure)) => failure,
        Err(message) => Failure { status: Status::Internal, message },
    };
    if !error.is_null() {
        error.write(Bytes::from_string(failure.line()));
    }
    failure.status as i32
}

/// Runs `body`, with a panic as `Err(its message)` and nothing printed.
pub fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    silence_panics();
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string()));
        format!("panic: {}", text.unwrap_or_default())
    })
}

fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

//! The memory of all constraints of a server together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::limits::{ALWAYS_ALLOWED_BYTES, MAX_TOTAL_BYTES};
use crate::failure::{Failure, Outcome};

/// Bytes that the grammars and texts of one vocabulary hold.
#[derive(Default)]
pub struct Account(AtomicUsize);

impl Account {
    pub fn total(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The share of one grammar or text; given back when it goes.
pub struct Share {
    account: Arc<Account>,
    bytes: usize,
}

impl Share {
    pub fn new(account: Arc<Account>) -> Self {
        Self { account, bytes: 0 }
    }

    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn add(&mut self, bytes: isize) {
        let now = self.bytes.saturating_add_signed(bytes);
        self.account.0.fetch_add(now, Ordering::Relaxed);
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = now;
    }

    /// Small ones go on whatever the large ones hold.
    pub fn check(&self, limit: usize) -> Outcome<()> {
        if self.bytes > limit {
            return Err(Failure::invalid("is too complex"));
        }
        if self.bytes > ALWAYS_ALLOWED_BYTES && self.account.total() > MAX_TOTAL_BYTES {
            return Err(Failure::exhausted("the memory for complex constraints is taken"));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

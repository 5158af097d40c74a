//! Why a call failed, in the terms of the C ABI.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    InvalidArgument = 1,
    DataCorrupt = 2,
    Unsupported = 3,
    Internal = 4,
    ResourceExhausted = 5,
}

#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { status: Status::InvalidArgument, message: message.into() }
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Self { status: Status::DataCorrupt, message: message.into() }
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { status: Status::Unsupported, message: message.into() }
    }

    pub fn exhausted(message: impl Into<String>) -> Self {
        Self { status: Status::ResourceExhausted, message: message.into() }
    }

    /// The message on one line: what it quotes may come from a file.
    pub fn line(&self) -> String {
        self.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

//! The byte-level alphabet (GPT-2): every byte is one printable character of a token.

use std::sync::OnceLock;

/// Characters up to U+0143 stand for bytes.
const ALPHABET_END: usize = 0x144;

fn byte_of(c: char) -> Option<u8> {
    static TABLE: OnceLock<[Option<u8>; ALPHABET_END]> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table = [None; ALPHABET_END];
        let mut next = 0x100;
        for byte in 0..=255u8 {
            let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
            if printable {
                table[byte as usize] = Some(byte);
            } else {
                table[next] = Some(byte);
                next += 1;
            }
        }
        table
    });
    table.get(c as usize).copied().flatten()
}

/// Appends the token's bytes; a token with a character outside the alphabet (an added token) stands
/// for itself.
pub fn append_bytes(token: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for c in token.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(start);
                bytes.extend_from_slice(token.as_bytes());
                return;
            }
        }
    }
}

/// Moves the text that `bytes` settles out of it: all but a sequence at the end that more bytes may
/// complete. Invalid sequences become U+FFFD as in `String::from_utf8_lossy` of the whole.
pub fn take_settled(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = bytes.as_slice();
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                bytes.clear();
                return text;
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                match error.error_len() {
                    Some(length) => {
                        text.push('\u{FFFD}');
                        rest = &after[length..];
                    }
                    None => {
                        *bytes = after.to_vec();
                        return text;
                    }
                }
            }
        }
    }
}

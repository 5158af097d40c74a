//! `clean_up_tokenization_spaces`: spaces before punctuation and English contractions are removed
//! from the text.

const REPLACEMENTS: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];
/// Every replaced text starts with a space and has at most 4 characters; replacements chain at most
/// once.
const REACH: usize = 8;

#[derive(Default)]
pub struct CleanUp {
    raw: String,
}

impl CleanUp {
    pub fn raw(&mut self) -> &mut String {
        &mut self.raw
    }

    /// Cleans and moves out the part of the text that no later text can change.
    pub fn settle(&mut self, text: &mut String) {
        let cut = settled_length(&self.raw);
        text.push_str(&cleaned(&self.raw[..cut]));
        self.raw.drain(..cut);
    }

    pub fn finish(&mut self, text: &mut String) {
        text.push_str(&cleaned(&self.raw));
        self.raw.clear();
    }
}

fn cleaned(text: &str) -> String {
    let mut text = text.to_string();
    for (from, to) in REPLACEMENTS {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    text
}

/// A cut is safe at the end when no space is near, and before a space that starts no longer run of
/// spaces or quotes.
fn settled_length(raw: &str) -> usize {
    if !raw.chars().rev().take(REACH).any(|c| c == ' ') {
        return raw.len();
    }
    let bytes = raw.as_bytes();
    (1..bytes.len())
        .rev()
        .find(|&i| bytes[i] == b' ' && bytes[i - 1] != b' ' && bytes[i - 1] != b'\'')
        .unwrap_or(0)
}

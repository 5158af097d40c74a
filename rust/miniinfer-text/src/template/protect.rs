//! Special-token text in what a client sends is text. A mark, a private-use character that occurs
//! nowhere in the input, is put inside every such text before rendering; where it survives into the
//! rendered prompt no special token is read, and the mark is taken out before tokenization. All
//! other tokens come out as without it.

use serde_json::Value as Json;

use super::Input;

/// Supplementary private use area B, taken from its end.
const MARKS: std::ops::RangeInclusive<u32> = 0x10_0000..=0x10_FFFD;

/// Puts the mark into the input where it is needed; None when nothing needs it.
pub fn protect(input: &mut Input, specials: &[String]) -> Option<char> {
    if specials.is_empty() {
        return None;
    }
    let mark = MARKS.rev().filter_map(char::from_u32).find(|mark| !contains_char(input, *mark))?;
    let mut changed = false;
    let mut visit = |text: &mut String| {
        if let Some(marked) = marked(text, specials, mark) {
            *text = marked;
            changed = true;
        }
    };
    each_string(&mut input.messages, &mut visit);
    each_string(&mut input.tools, &mut visit);
    for (key, value) in &mut input.kwargs {
        // A client may name another bos_token for the template to write.
        if !key.ends_with("_token") {
            each_string(value, &mut visit);
        }
    }
    changed.then_some(mark)
}

/// The text with the mark after the first character of every special token in it, and at its end
/// when it ends like the start of one, which the text after it in the prompt could complete. None
/// when it needs no mark.
fn marked(text: &str, specials: &[String], mark: char) -> Option<String> {
    let mut cuts: Vec<usize> = Vec::new();
    for special in specials {
        let first = special.chars().next().map_or(0, char::len_utf8);
        let mut from = 0;
        while let Some(at) = text[from..].find(special.as_str()) {
            from += at + first;
            cuts.push(from);
        }
        let ends_in_prefix =
            special.char_indices().skip(1).any(|(length, _)| text.ends_with(&special[..length]));
        if ends_in_prefix {
            cuts.push(text.len());
        }
    }
    if cuts.is_empty() {
        return None;
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out = String::with_capacity(text.len() + cuts.len() * mark.len_utf8());
    let mut from = 0;
    for cut in cuts {
        out.push_str(&text[from..cut]);
        out.push(mark);
        from = cut;
    }
    out.push_str(&text[from..]);
    Some(out)
}

fn each_string(value: &mut Json, visit: &mut impl FnMut(&mut String)) {
    match value {
        Json::String(text) => visit(text),
        Json::Array(items) => items.iter_mut().for_each(|item| each_string(item, visit)),
        Json::Object(map) => {
            let entries = std::mem::take(map);
            for (mut key, mut item) in entries {
                visit(&mut key);
                each_string(&mut item, visit);
                map.insert(key, item);
            }
        }
        _ => {}
    }
}

fn contains_char(input: &Input, mark: char) -> bool {
    fn inside(value: &Json, mark: char) -> bool {
        match value {
            Json::String(text) => text.contains(mark),
            Json::Array(items) => items.iter().any(|item| inside(item, mark)),
            Json::Object(map) => {
                map.iter().any(|(key, item)| key.contains(mark) || inside(item, mark))
            }
            _ => false,
        }
    }
    inside(&input.messages, mark)
        || inside(&input.tools, mark)
        || input.kwargs.iter().any(|(key, item)| key.contains(mark) || inside(item, mark))
}

//! `{% generation %}` marks what the assistant wrote, for training; it prints its body, so only the
//! tags go.

/// The source with the generation tags replaced by tags that do nothing and trim the same white
/// space.
pub fn without(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            out.push_str(tag);
            return out;
        };
        let inside = &tag[2..end];
        let name = inside.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        let replacement = match name {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        match replacement {
            Some(replacement) => out.push_str(&tag[..end + 2].replacen(name, replacement, 1)),
            None => out.push_str(&tag[..end + 2]),
        }
        rest = &tag[end + 2..];
    }
    out.push_str(rest);
    out
}

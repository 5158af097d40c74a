//! GBNF as a tree. Line ends have no meaning: a rule ends where the next one begins.

use super::limits::MAX_RULES;
use crate::failure::{Failure, Outcome};

/// Parentheses within each other; written by hand there are less than ten.
const MAX_DEPTH: usize = 100;
/// Repetitions of repetitions, which make a tree deep as well.
const MAX_STARS: usize = 4;
/// Repetitions are unrolled, in the end.
const MAX_REPEAT: usize = 10_000;

#[derive(Clone)]
pub enum Node {
    Text(String),
    /// Any character, when it is empty and negated.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Rule(String),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat {
        body: Box<Node>,
        least: usize,
        most: Option<usize>,
    },
}

impl Node {
    pub fn children(&self) -> &[Node] {
        match self {
            Node::Sequence(parts) | Node::Either(parts) => parts,
            Node::Repeat { body, .. } => std::slice::from_ref(body),
            Node::Text(_) | Node::Class { .. } | Node::Rule(_) => &[],
        }
    }
}

pub struct Rule {
    pub name: String,
    pub body: Node,
}

pub fn parse(text: &str) -> Outcome<Vec<Rule>> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let mut rules = Vec::new();
    parser.skip_space();
    while parser.at < text.len() {
        let name = parser.name().ok_or_else(|| parser.wrong("a rule's name is needed"))?;
        if !parser.take("::=") {
            return Err(parser.wrong("::= is needed after a rule's name"));
        }
        rules.push(Rule { name, body: parser.either()? });
        if rules.len() > MAX_RULES {
            return Err(parser.wrong(&format!("there are more than {MAX_RULES} rules")));
        }
    }
    Ok(rules)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, reason: &str) -> Failure {
        let line = self.text[..self.at].matches('\n').count() + 1;
        Failure::invalid(format!("line {line}: {reason}"))
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest().trim_start();
            self.at = self.text.len() - rest.len();
            if !rest.starts_with('#') {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    /// Takes what is there, and the space behind it.
    fn take(&mut self, what: &str) -> bool {
        if !self.rest().starts_with(what) {
            return false;
        }
        self.at += what.len();
        self.skip_space();
        true
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
        let name = rest[..end.unwrap_or(rest.len())].to_string();
        self.at += name.len();
        self.skip_space();
        (!name.is_empty()).then_some(name)
    }

    fn either(&mut self) -> Outcome<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("parentheses are nested too deeply"));
        }
        let mut parts = vec![self.sequence()?];
        while self.take("|") {
            parts.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Either(parts) })
    }

    fn sequence(&mut self) -> Outcome<Node> {
        let mut parts = Vec::new();
        while let Some(part) = self.element()? {
            parts.push(self.repeated(part)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Sequence(parts) })
    }

    fn element(&mut self) -> Outcome<Option<Node>> {
        let node = match self.rest().chars().next() {
            Some('"') => self.literal()?,
            Some('[') => self.class()?,
            Some('.') => {
                self.at += 1;
                Node::Class { negated: true, ranges: Vec::new() }
            }
            Some('(') => {
                self.take("(");
                if self.rest().starts_with('=') {
                    return Err(self.wrong("looking ahead is not supported"));
                }
                let node = self.either()?;
                if !self.rest().starts_with(')') {
                    return Err(self.wrong("a parenthesis is not closed"));
                }
                self.at += 1;
                node
            }
            Some(c) if c.is_ascii_alphanumeric() || "_-".contains(c) => {
                let before = self.at;
                let name = self.name().unwrap_or_default();
                if self.rest().starts_with("::=") {
                    self.at = before; // the next rule
                    return Ok(None);
                }
                return Ok(Some(Node::Rule(name)));
            }
            Some('|') | Some(')') | None => return Ok(None),
            Some(c) => return Err(self.wrong(&format!("{c:?} is not understood here"))),
        };
        self.skip_space();
        Ok(Some(node))
    }

    fn repeated(&mut self, mut node: Node) -> Outcome<Node> {
        for _ in 0..MAX_STARS {
            let (least, most) = match self.rest().chars().next() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => self.bounds()?,
                _ => return Ok(node),
            };
            self.at += 1;
            self.skip_space();
            node = Node::Repeat { body: Box::new(node), least, most };
        }
        Err(self.wrong("there are too many repetitions of repetitions"))
    }

    /// Leaves the closing brace.
    fn bounds(&mut self) -> Outcome<(usize, Option<usize>)> {
        let wrong = self.wrong("a repetition is {n}, {n,} or {n,m}, up to 10000");
        let Some(end) = self.rest().find('}') else {
            return Err(wrong);
        };
        let inside = &self.rest()[1..end];
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(number) if number <= MAX_REPEAT => Some(number),
            _ => None,
        };
        let bounds = match inside.split_once(',') {
            None => number(inside).map(|n| (n, Some(n))),
            Some((least, "")) => number(least).map(|n| (n, None)),
            Some((least, most)) => number(least).zip(number(most)).map(|(n, m)| (n, Some(m))),
        };
        match bounds {
            Some((least, most)) if most.is_none_or(|most| least <= most) => {
                self.at += end;
                Ok((least, most))
            }
            _ => Err(wrong),
        }
    }

    fn literal(&mut self) -> Outcome<Node> {
        self.at += 1;
        let mut text = String::new();
        while !self.rest().starts_with('"') {
            text.push(self.character("a literal is not closed")?);
        }
        self.at += 1;
        Ok(Node::Text(text))
    }

    fn class(&mut self) -> Outcome<Node> {
        self.at += 1;
        let negated = self.rest().starts_with('^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        while !self.rest().starts_with(']') {
            let first = self.character("a class of characters is not closed")?;
            let mut last = first;
            if self.rest().starts_with('-') && !self.rest().starts_with("-]") {
                self.at += 1;
                last = self.character("a class of characters is not closed")?;
            }
            if last < first {
                return Err(self.wrong("a range of characters is the wrong way round"));
            }
            ranges.push((first, last));
        }
        if ranges.is_empty() {
            return Err(self.wrong("a class of characters is empty"));
        }
        self.at += 1;
        Ok(Node::Class { negated, ranges })
    }

    /// One character of a literal or a class, escapes resolved.
    fn character(&mut self, unclosed: &str) -> Outcome<char> {
        let mut chars = self.rest().chars();
        let c = match chars.next() {
            None | Some('\n') => return Err(self.wrong(unclosed)),
            Some(c) => c,
        };
        self.at += c.len_utf8();
        if c != '\\' {
            return Ok(c);
        }
        let Some(escape) = chars.next() else {
            return Err(self.wrong(unclosed));
        };
        self.at += escape.len_utf8();
        match escape {
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'x' => self.code(2),
            'u' => self.code(4),
            'U' => self.code(8),
            c if c.is_ascii_punctuation() => Ok(c),
            c => Err(self.wrong(&format!("the escape \\{c} is unknown"))),
        }
    }

    fn code(&mut self, digits: usize) -> Outcome<char> {
        let text = self.rest().get(..digits).unwrap_or_default();
        let code = u32::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
        let Some(c) = code.and_then(char::from_u32) else {
            return Err(
                self.wrong(&format!("an escape needs {digits} digits of a character's code"))
            );
        };
        self.at += digits;
        Ok(c)
    }
}

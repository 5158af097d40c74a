//! GBNF, the notation of llama.cpp's grammars, which other servers call EBNF: rewritten as Lark.
//!
//! What can be matched without recursion becomes a terminal, which the library compiles into one
//! automaton; only rules that recur are left to the parser. Terminals are read greedily there.

use std::collections::HashMap;
use std::fmt::Write;

use super::gbnf_parser::{parse, Node, Rule};
use crate::failure::{Failure, Outcome};

/// Whether a line of the text begins like a rule of GBNF; none of Lark does.
pub fn is_gbnf(text: &str) -> bool {
    text.lines().any(|line| {
        let name = line.trim_start();
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
        end.is_some_and(|end| end > 0 && name[end..].trim_start().starts_with("::="))
    })
}

pub fn to_lark(text: &str) -> Outcome<String> {
    let rules = parse(text)?;
    let mut writer =
        Writer { names: names_of(&rules)?, regular: Vec::new(), out: String::new(), runs: 0 };
    let Some(root) = writer.names.get("root").copied() else {
        return Err(Failure::invalid("has no rule root"));
    };
    for rule in &rules {
        writer.check_names(&rule.body)?;
    }
    writer.regular = writer.find_regular(&rules);
    writer.line(format!("start: {}", writer.name(root)));
    for (index, rule) in rules.iter().enumerate() {
        let name = writer.name(index);
        let body = if writer.regular[index] {
            writer.terminal(&rule.body)
        } else {
            writer.rule(&rule.body)
        };
        writer.line(format!("{name}: {body}"));
    }
    Ok(writer.out)
}

fn names_of(rules: &[Rule]) -> Outcome<HashMap<String, usize>> {
    let mut names = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        if names.insert(rule.name.clone(), index).is_some() {
            return Err(Failure::invalid(format!("the rule {} is there twice", rule.name)));
        }
    }
    Ok(names)
}

struct Writer {
    names: HashMap<String, usize>,
    /// Of each rule: whether it recurs nowhere.
    regular: Vec<bool>,
    out: String,
    runs: usize,
}

impl Writer {
    fn line(&mut self, text: String) {
        self.out.push_str(&text);
        self.out.push('\n');
    }

    /// Lark tells terminals by their capitals.
    fn name(&self, index: usize) -> String {
        format!("{}{index}", if self.regular[index] { "T" } else { "r" })
    }

    fn check_names(&self, node: &Node) -> Outcome<()> {
        if let Node::Rule(name) = node {
            if !self.names.contains_key(name) {
                return Err(Failure::invalid(format!("there is no rule {name}")));
            }
        }
        node.children().iter().try_for_each(|child| self.check_names(child))
    }

    /// A rule is regular when all rules that it names are.
    fn find_regular(&self, rules: &[Rule]) -> Vec<bool> {
        let mut named_by = vec![Vec::new(); rules.len()];
        let mut open = vec![0usize; rules.len()];
        for (index, rule) in rules.iter().enumerate() {
            self.each_name(&rule.body, &mut |named| {
                named_by[named].push(index);
                open[index] += 1;
            });
        }
        let mut regular = vec![false; rules.len()];
        let mut ready: Vec<usize> = (0..rules.len()).filter(|index| open[*index] == 0).collect();
        while let Some(index) = ready.pop() {
            regular[index] = true;
            for user in &named_by[index] {
                open[*user] -= 1;
                if open[*user] == 0 {
                    ready.push(*user);
                }
            }
        }
        regular
    }

    fn each_name(&self, node: &Node, visit: &mut impl FnMut(usize)) {
        if let Node::Rule(name) = node {
            visit(self.names[name]);
        }
        for child in node.children() {
            self.each_name(child, visit);
        }
    }

    fn is_regular(&self, node: &Node) -> bool {
        match node {
            Node::Rule(name) => self.regular[self.names[name]],
            _ => node.children().iter().all(|child| self.is_regular(child)),
        }
    }

    /// The body of a terminal.
    fn terminal(&self, node: &Node) -> String {
        match node {
            Node::Text(text) => match text.as_str() {
                "" => "\"\"".to_string(),
                text => format!("/{}/", text.chars().map(escaped).collect::<String>()),
            },
            Node::Class { negated, ranges } => class(*negated, ranges),
            Node::Rule(name) => self.name(self.names[name]),
            Node::Sequence(parts) => joined(parts, " ", |part| self.terminal(part)),
            Node::Either(parts) => joined(parts, " | ", |part| self.terminal(part)),
            Node::Repeat { body, least, most } => repeat(&self.terminal(body), *least, *most),
        }
    }

    /// The body of a rule: what needs no recursion in it becomes terminals, as long as they get.
    fn rule(&mut self, node: &Node) -> String {
        if self.is_regular(node) {
            return self.run(node);
        }
        match node {
            Node::Sequence(parts) => {
                let mut pieces = Vec::new();
                let mut rest = &parts[..];
                while let Some(first) = rest.first() {
                    let run = rest.iter().take_while(|part| self.is_regular(part)).count();
                    if run > 0 {
                        pieces.push(self.run(&Node::Sequence(rest[..run].to_vec())));
                    } else {
                        pieces.push(self.rule(first));
                    }
                    rest = &rest[run.max(1)..];
                }
                format!("({})", pieces.join(" "))
            }
            Node::Either(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| self.rule(part)).collect();
                format!("({})", parts.join(" | "))
            }
            Node::Repeat { body, least, most } => repeat(&self.rule(body), *least, *most),
            Node::Rule(name) => self.name(self.names[name]),
            Node::Text(_) | Node::Class { .. } => unreachable!("regular"),
        }
    }

    /// A terminal of its own for this.
    fn run(&mut self, node: &Node) -> String {
        if let Node::Rule(name) = node {
            return self.name(self.names[name]);
        }
        let name = format!("RUN{}", self.runs);
        self.runs += 1;
        let body = self.terminal(node);
        self.line(format!("{name}: {body}"));
        name
    }
}

fn joined(parts: &[Node], by: &str, write: impl Fn(&Node) -> String) -> String {
    match parts {
        [] => "\"\"".to_string(),
        parts => format!("({})", parts.iter().map(write).collect::<Vec<_>>().join(by)),
    }
}

fn repeat(body: &str, least: usize, most: Option<usize>) -> String {
    match (least, most) {
        (0, None) => format!("({body})*"),
        (1, None) => format!("({body})+"),
        (0, Some(1)) => format!("({body})?"),
        (least, None) => format!("({body}){{{least},}}"),
        (least, Some(most)) => format!("({body}){{{least},{most}}}"),
    }
}

fn escaped(c: char) -> String {
    format!("\\x{{{:x}}}", c as u32)
}

fn class(negated: bool, ranges: &[(char, char)]) -> String {
    if ranges.is_empty() {
        return "/(?s:.)/".to_string(); // the parser lets only the dot be empty
    }
    let mut text = String::from(if negated { "/[^" } else { "/[" });
    for (first, last) in ranges {
        let _ = write!(text, "{}-{}", escaped(*first), escaped(*last));
    }
    text + "]/"
}

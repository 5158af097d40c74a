//! Chat templates: Jinja as transformers runs it, sandboxed and bounded.

mod compiled;
mod environment;
mod filters;
mod for_else;
mod generation_tag;
mod guard;
mod jinja_tests;
mod methods;
mod printing;
mod protect;
mod rewrite;

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json};

use crate::failure::{Failure, Outcome};
use crate::tokenizer::{Specials, Tokenizer};
use crate::tokenizer_config::TokenizerConfig;
use compiled::Compiled;

const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

pub struct Template {
    environment: Environment<'static>,
    templates: Vec<(String, Compiled)>,
    /// bos_token, eos_token and the like, by name.
    special_tokens: Map<String, Json>,
}

/// What a render takes; JSON texts, `tools` and `kwargs` possibly empty.
pub struct Chat<'a> {
    pub messages: &'a str,
    pub tools: &'a str,
    pub kwargs: &'a str,
    pub add_generation_prompt: bool,
}

impl Template {
    /// `source` empty takes the templates of the configuration; none there gives None.
    pub fn new(source: &str, config: &[u8]) -> Outcome<Option<Self>> {
        let config = TokenizerConfig::parse(config)?;
        let (sources, file) = if source.is_empty() {
            (configured(&config)?, "tokenizer_config.json: chat_template")
        } else {
            (vec![(DEFAULT.to_string(), source.to_string())], "chat_template.jinja")
        };
        if sources.is_empty() {
            return Ok(None);
        }
        let mut templates = Vec::new();
        for (name, source) in sources {
            let compiled = Compiled::new(&source);
            templates.push((
                name,
                compiled.map_err(|e| Failure::corrupt(format!("{file}: {}", one_line(&e))))?,
            ));
        }
        let special_tokens = config
            .named
            .iter()
            .map(|(name, token)| (name.clone(), Json::String(token.content.clone())))
            .collect();
        Ok(Some(Self { environment: environment::new(), templates, special_tokens }))
    }

    pub fn render(&self, chat: &Chat) -> Outcome<String> {
        let input = Input::parse(chat)?;
        self.render_input(&input, None)
    }

    /// The rendered text and its tokens. Special-token text inside the input is broken by a mark
    /// before rendering, so that only what the template itself writes becomes special tokens.
    pub fn encode(&self, tokenizer: &Tokenizer, chat: &Chat) -> Outcome<(String, Vec<i32>)> {
        let mut input = Input::parse(chat)?;
        let mark = protect::protect(&mut input, tokenizer.special_texts());
        let rendered = self.render_input(&input, mark)?;
        match mark {
            None => {
                let ids = tokenizer.encode(&rendered, false, Specials::Parse)?;
                Ok((rendered, ids))
            }
            Some(mark) => {
                let ids = tokenizer.encode(&rendered, false, Specials::BrokenBy(mark))?;
                Ok((rendered.replace(mark, ""), ids))
            }
        }
    }

    fn render_input(&self, input: &Input, mark: Option<char>) -> Outcome<String> {
        let mut variables = self.special_tokens.clone();
        for (name, value) in &input.kwargs {
            variables.insert(name.clone(), value.clone());
        }
        variables.insert("messages".into(), input.messages.clone());
        variables.insert("tools".into(), input.tools.clone());
        variables.entry("documents").or_insert(Json::Null);
        variables.insert("add_generation_prompt".into(), Json::Bool(input.add_generation_prompt));
        let named = |wanted: &str| {
            self.templates.iter().find(|(name, _)| name == wanted).map(|(_, template)| template)
        };
        let with_tools = if input.tools.is_null() { None } else { named(TOOL_USE) };
        let template = with_tools.or_else(|| named(DEFAULT)).ok_or_else(|| {
            Failure::unsupported(
                "tokenizer_config.json: chat_template: several templates and none named 'default'",
            )
        })?;
        template
            .render(&self.environment, Value::from(Serde(&variables)), mark)
            .map_err(|e| Failure::invalid(format!("the chat template failed: {}", one_line(&e))))
    }
}

/// The parsed variables of one render.
pub struct Input {
    messages: Json,
    tools: Json,
    kwargs: Map<String, Json>,
    add_generation_prompt: bool,
}

impl Input {
    fn parse(chat: &Chat) -> Outcome<Self> {
        let messages = parse_json(chat.messages, "messages")?;
        match &messages {
            Json::Array(list) if list.is_empty() => {
                return Err(Failure::invalid("messages: the list is empty"))
            }
            Json::Array(list) if list.iter().all(Json::is_object) => {}
            _ => return Err(Failure::invalid("messages: expected a list of objects")),
        }
        let tools = parse_json(chat.tools, "tools")?;
        if !tools.is_null() && !tools.is_array() {
            return Err(Failure::invalid("tools: expected a list"));
        }
        let kwargs = match parse_json(chat.kwargs, "chat_template_kwargs")? {
            Json::Null => Map::new(),
            Json::Object(map) => map,
            _ => return Err(Failure::invalid("chat_template_kwargs: expected an object")),
        };
        Ok(Self { messages, tools, kwargs, add_generation_prompt: chat.add_generation_prompt })
    }
}

fn parse_json(text: &str, what: &str) -> Outcome<Json> {
    if text.trim().is_empty() {
        return Ok(Json::Null);
    }
    serde_json::from_str(text).map_err(|e| Failure::invalid(format!("{what}: not valid JSON: {e}")))
}

/// (name, source) of `chat_template`: a string, or a list of named templates.
fn configured(config: &TokenizerConfig) -> Outcome<Vec<(String, String)>> {
    let wrong = || {
        Failure::corrupt(
            "tokenizer_config.json: chat_template: expected a string or a list of templates",
        )
    };
    match &config.chat_template {
        None => Ok(vec![]),
        Some(Json::String(source)) => Ok(vec![(DEFAULT.to_string(), source.clone())]),
        Some(Json::Array(list)) => {
            let field =
                |item: &Json, name: &str| item.get(name).and_then(Json::as_str).map(str::to_string);
            list.iter()
                .map(|item| field(item, "name").zip(field(item, "template")).ok_or_else(wrong))
                .collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn one_line(error: &minijinja::Error) -> String {
    let mut text = error.detail().map_or_else(|| error.to_string(), str::to_string);
    if let Some(line) = error.line() {
        text.push_str(&format!(" (line {line})"));
    }
    text
}

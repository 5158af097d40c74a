//! Tokens to text, one token at a time. The library decodes whole sequences only; here each of its
//! decoders is a stage that takes tokens as they come and lets out what no later token can change.
//! Decoding a whole sequence uses the same stages, so a stream and a full decode agree by
//! construction.

mod byte_level;
mod clean_up;
mod stage;

use tokenizers::DecoderWrapper;

use crate::failure::{Failure, Outcome};
use clean_up::CleanUp;
use stage::{Stage, State};

/// How the tokens of one tokenizer become text. Immutable.
pub struct Decoding {
    stages: Vec<Stage>,
    clean_up: bool,
}

/// The progress of one sequence through the stages.
pub struct Stream {
    states: Vec<State>,
    clean_up: Option<CleanUp>,
}

impl Decoding {
    pub fn new(decoder: Option<DecoderWrapper>, clean_up: bool) -> Self {
        Self { stages: Stage::chain(decoder), clean_up }
    }

    /// The bytes that a token adds to a text in whose middle it stands. Decoders for which there
    /// are no such bytes are unsupported.
    pub fn token_bytes(&self, token: String) -> Outcome<Vec<u8>> {
        if self.clean_up {
            return Err(Failure::unsupported("the tokenizer cleans up spaces between tokens"));
        }
        let mut bytes = token.into_bytes();
        for stage in &self.stages {
            bytes = stage.token_bytes(bytes)?;
        }
        Ok(bytes)
    }

    /// Whether tokens are nothing but runs of bytes, wherever they stand.
    pub fn is_bytes(&self) -> bool {
        !self.clean_up && matches!(self.stages.as_slice(), [Stage::ByteLevel])
    }

    pub fn start(&self) -> Stream {
        Stream {
            states: self.stages.iter().map(Stage::start).collect(),
            clean_up: self.clean_up.then(CleanUp::default),
        }
    }
}

impl Stream {
    /// Appends to `text` what the token settles: whole characters, possibly none.
    pub fn push(&mut self, decoding: &Decoding, token: String, text: &mut String) -> Outcome<()> {
        match &mut self.clean_up {
            None => feed(&decoding.stages, &mut self.states, token, text),
            Some(clean_up) => {
                feed(&decoding.stages, &mut self.states, token, clean_up.raw())?;
                clean_up.settle(text);
                Ok(())
            }
        }
    }

    /// Appends what was held back; the stream is at its end.
    pub fn finish(&mut self, decoding: &Decoding, text: &mut String) -> Outcome<()> {
        let mut clean_up = self.clean_up.take();
        let out = clean_up.as_mut().map_or(&mut *text, CleanUp::raw);
        for index in 0..decoding.stages.len() {
            let held = decoding.stages[index].finish(&mut self.states[index])?;
            for token in held {
                feed(&decoding.stages[index + 1..], &mut self.states[index + 1..], token, out)?;
            }
        }
        if let Some(mut clean_up) = clean_up {
            clean_up.finish(text);
        }
        Ok(())
    }
}

fn feed(stages: &[Stage], states: &mut [State], token: String, text: &mut String) -> Outcome<()> {
    let (Some((stage, stages)), Some((state, states))) =
        (stages.split_first(), states.split_first_mut())
    else {
        text.push_str(&token);
        return Ok(());
    };
    let mut out = stage::Emitted::default();
    stage.push(state, token, &mut out)?;
    for token in out.tokens {
        feed(stages, states, token, text)?;
    }
    Ok(())
}

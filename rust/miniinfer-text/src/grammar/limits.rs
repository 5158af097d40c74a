//! What one constraint may cost. Constraints come with requests: none may hold a thread or memory
//! for long.

use std::time::Duration;

use llguidance::api::ParserLimits;

/// The largest published schemas that people constrain with (FHIR) have some 4 MB and are out of
/// reach of a request anyway; function schemas stay below 100 kB.
pub const MAX_TEXT_BYTES: usize = 512 << 10;

/// A compilation that has not ended by then is given up.
pub const COMPILE_TIME: Duration = Duration::from_secs(5);

/// Given-up compilations that may still be running; beyond, nothing is compiled until one ends.
pub const MAX_ABANDONED: usize = 2;

/// The library follows references by recursion, 4 to 10 kB of stack each; what is not used costs
/// nothing. A schema within the limit of its text has 10,000 at most.
pub const COMPILE_STACK_BYTES: usize = 256 << 20;

/// Of a grammar, each of which may name the next: 20,000 took more than 64 MB of stack.
pub const MAX_RULES: usize = 4000;

/// Of a compiled grammar, which every text copies in 3 ms at worst. An ordinary schema has 0.2 MB,
/// one of 100 kB some 3 MB, an enumeration of 30,000 words 15 MB.
pub const MAX_COMPILED_BYTES: usize = 32 << 20;

/// Of what a text hands on to later ones: copying a megabyte takes 0.2 ms, computing it 20 ms.
pub const MAX_LEARNED_BYTES: usize = 2 << 20;

/// Of one text. 1,500 tokens of an ordinary schema come to 0.4 MB, of `\w{1,1000}` to 8 MB.
pub const MAX_MATCHER_BYTES: usize = 64 << 20;

/// Of all grammars and texts; beyond, only those go on that hold little themselves.
pub const MAX_TOTAL_BYTES: usize = 1 << 30;
pub const ALWAYS_ALLOWED_BYTES: usize = 2 << 20;

/// The states of `multipleOf`; these take 35 ms and 30 MB.
pub const MAX_DIVISOR: u64 = 65_536;

/// Of a schema's numbers: 2^63 and some room for rounding.
pub const LEAST_NUMBER: f64 = -9.2e18;

pub fn parser_limits() -> ParserLimits {
    ParserLimits {
        // About 20 ms, and room for schemas of 200 kB.
        initial_lexer_fuel: 1_000_000,
        max_grammar_size: 250_000,
        // A mask takes 15 ms and 3 ms of these at most.
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_items_in_row: 2000,
        // Ordinary schemas use some hundreds; `\w{1,1000}` uses 20,000.
        max_lexer_states: 100_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

// C ABI of the Rust crate miniinfer-text. Every function is safe to call from any thread unless it
// says otherwise, never unwinds, and returns a MiTextStatus; on failure `error` holds one line of
// UTF-8. Buffers handed out are owned by the caller and freed with mi_text_bytes_free or
// mi_text_ids_free.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum MiTextStatus {
  MI_TEXT_OK = 0,
  MI_TEXT_INVALID_ARGUMENT = 1,
  MI_TEXT_DATA_CORRUPT = 2,
  MI_TEXT_UNSUPPORTED = 3,
  MI_TEXT_INTERNAL = 4,  // a panic was caught
  MI_TEXT_RESOURCE_EXHAUSTED = 5,
};

typedef struct MiTextBytes {
  uint8_t* data;
  size_t size;
} MiTextBytes;

typedef struct MiTextIds {
  int32_t* data;
  size_t size;
} MiTextIds;

typedef struct MiTextTokenizer MiTextTokenizer;
typedef struct MiTextDetokenizer MiTextDetokenizer;
typedef struct MiTextTemplate MiTextTemplate;

void mi_text_bytes_free(MiTextBytes bytes);
void mi_text_ids_free(MiTextIds ids);

// `config` (tokenizer_config.json) may be empty.
int32_t mi_text_tokenizer_new(const uint8_t* json, size_t json_size, const uint8_t* config,
                              size_t config_size, MiTextTokenizer** out, MiTextBytes* error);
void mi_text_tokenizer_free(MiTextTokenizer* tokenizer);
int32_t mi_text_encode(const MiTextTokenizer* tokenizer, const uint8_t* text, size_t size,
                       bool add_special_tokens, bool parse_special, MiTextIds* out,
                       MiTextBytes* error);
int32_t mi_text_decode(const MiTextTokenizer* tokenizer, const int32_t* ids, size_t count,
                       bool skip_special_tokens, MiTextBytes* out, MiTextBytes* error);
int64_t mi_text_vocab_size(const MiTextTokenizer* tokenizer);
int32_t mi_text_token_to_id(const MiTextTokenizer* tokenizer, const uint8_t* token,
                            size_t size);  // -1: none
bool mi_text_id_to_token(const MiTextTokenizer* tokenizer, int32_t id,
                         MiTextBytes* out);  // false: none
bool mi_text_is_special(const MiTextTokenizer* tokenizer, int32_t id);
int32_t mi_text_bos_id(const MiTextTokenizer* tokenizer);  // -1: none
int32_t mi_text_eos_id(const MiTextTokenizer* tokenizer);
void mi_text_bos_token(const MiTextTokenizer* tokenizer, MiTextBytes* out);
void mi_text_eos_token(const MiTextTokenizer* tokenizer, MiTextBytes* out);

// One thread at a time. Holds the tokenizer alive by itself.
MiTextDetokenizer* mi_text_detokenizer_new(const MiTextTokenizer* tokenizer,
                                           bool skip_special_tokens);
void mi_text_detokenizer_free(MiTextDetokenizer* detokenizer);
int32_t mi_text_detokenizer_push(MiTextDetokenizer* detokenizer, int32_t id, MiTextBytes* out,
                                 MiTextBytes* error);
int32_t mi_text_detokenizer_finish(MiTextDetokenizer* detokenizer, MiTextBytes* out,
                                   MiTextBytes* error);

// `tools`, `kwargs` are JSON or empty.
typedef struct MiTextChat {
  const uint8_t* messages;
  size_t messages_size;
  const uint8_t* tools;
  size_t tools_size;
  const uint8_t* kwargs;
  size_t kwargs_size;
  bool add_generation_prompt;
} MiTextChat;

// `source` may be empty: the templates of `config` (tokenizer_config.json) are used then. *out is
// null when there is none.
int32_t mi_text_template_new(const uint8_t* source, size_t source_size, const uint8_t* config,
                             size_t config_size, MiTextTemplate** out, MiTextBytes* error);
void mi_text_template_free(MiTextTemplate* chat_template);
int32_t mi_text_template_render(const MiTextTemplate* chat_template, const MiTextChat* chat,
                                MiTextBytes* out, MiTextBytes* error);
// Renders and encodes; special-token text inside the messages, tools and kwargs stays text.
int32_t mi_text_encode_chat(const MiTextTokenizer* tokenizer, const MiTextTemplate* chat_template,
                            const MiTextChat* chat, MiTextIds* ids, MiTextBytes* rendered,
                            MiTextBytes* error);

// A model's tokens for grammars: ids below `size`; `eos_ids` end a complete text.
typedef struct MiTextVocabulary MiTextVocabulary;
typedef struct MiTextGrammar MiTextGrammar;
typedef struct MiTextMatcher MiTextMatcher;

enum MiTextGrammarKind {
  MI_TEXT_JSON_SCHEMA = 0,
  MI_TEXT_REGEX = 1,  // Rust's syntax, matched as a whole
  MI_TEXT_LARK = 2,   // llguidance's variant of Lark
};

int32_t mi_text_vocabulary_new(const MiTextTokenizer* tokenizer, size_t size,
                               const int32_t* eos_ids, size_t eos_count, MiTextVocabulary** out,
                               MiTextBytes* error);
void mi_text_vocabulary_free(MiTextVocabulary* vocabulary);
// Ends within 5 s whatever the text. Holds the vocabulary alive by itself.
int32_t mi_text_grammar_new(const MiTextVocabulary* vocabulary, int32_t kind, const uint8_t* text,
                            size_t size, MiTextGrammar** out, MiTextBytes* error);
void mi_text_grammar_free(MiTextGrammar* grammar);
// Bytes of memory that it holds; grows with what it learns.
size_t mi_text_grammar_bytes(const MiTextGrammar* grammar);

// The progress of one text; one thread at a time. Independent of the grammar once made.
int32_t mi_text_matcher_new(const MiTextGrammar* grammar, MiTextMatcher** out, MiTextBytes* error);
// Takes a matcher of this grammar whose text has ended; later ones start with what it computed.
void mi_text_grammar_learn(const MiTextGrammar* grammar, MiTextMatcher* matcher);
void mi_text_matcher_free(MiTextMatcher* matcher);
// Sets bit t of `bits` (32 a word) for each token allowed next, and clears the others.
int32_t mi_text_matcher_fill(MiTextMatcher* matcher, uint32_t* bits, size_t words,
                             MiTextBytes* error);
// Takes a token; *complete: no token can follow.
int32_t mi_text_matcher_consume(MiTextMatcher* matcher, int32_t id, bool* complete,
                                MiTextBytes* error);

#ifdef __cplusplus
}
#endif

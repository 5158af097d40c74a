#include "text/grammar.h"

#include <string>
#include <utility>

#include "miniinfer/error.h"
#include "text/ffi.h"
#include "text/tokenizer_impl.h"

namespace miniinfer {

struct GrammarVocabulary::Impl {
  MiTextVocabulary* handle = nullptr;
  ~Impl() { mi_text_vocabulary_free(handle); }
};

struct Grammar::Impl {
  MiTextGrammar* handle = nullptr;
  std::string param;
  ~Impl() { mi_text_grammar_free(handle); }
};

struct GrammarMatcher::Impl {
  MiTextMatcher* handle = nullptr;
  std::string param;
  ~Impl() { mi_text_matcher_free(handle); }
};

namespace {

// A refusal names the request's field in front of the reason.
void check(int32_t status, const FfiBytes& error, const std::string& param) {
  if (status != MI_TEXT_INVALID_ARGUMENT) return ffi_check(status, error);
  throw Error(ErrorCode::kInvalidArgument, param + ": " + error.str(), param);
}

}  // namespace

GrammarVocabulary::GrammarVocabulary(const Tokenizer& tokenizer, int64_t vocab_size,
                                     std::span<const int32_t> eos_token_ids)
    : impl_(std::make_unique<Impl>()) {
  FfiBytes error;
  ffi_check(mi_text_vocabulary_new(tokenizer.impl_->handle, static_cast<size_t>(vocab_size),
                                   eos_token_ids.data(), eos_token_ids.size(), &impl_->handle,
                                   error.out()),
            error);
}
GrammarVocabulary::~GrammarVocabulary() = default;

Grammar::Grammar(const GrammarVocabulary& vocabulary, GrammarKind kind, std::string_view text,
                 std::string_view param)
    : impl_(std::make_unique<Impl>()) {
  impl_->param = param;
  FfiBytes error;
  check(mi_text_grammar_new(vocabulary.impl_->handle, static_cast<int32_t>(kind), ffi_data(text),
                            text.size(), &impl_->handle, error.out()),
        error, impl_->param);
}
Grammar::~Grammar() = default;

size_t Grammar::bytes() const {
  return mi_text_grammar_bytes(impl_->handle);
}

GrammarMatcher::GrammarMatcher(const Grammar& grammar) : impl_(std::make_unique<Impl>()) {
  impl_->param = grammar.impl_->param;
  FfiBytes error;
  check(mi_text_matcher_new(grammar.impl_->handle, &impl_->handle, error.out()), error,
        impl_->param);
}
GrammarMatcher::~GrammarMatcher() = default;

void GrammarMatcher::fill(std::span<uint32_t> allowed) {
  FfiBytes error;
  check(mi_text_matcher_fill(impl_->handle, allowed.data(), allowed.size(), error.out()), error,
        impl_->param);
}

void GrammarMatcher::teach(const Grammar& grammar) {
  mi_text_grammar_learn(grammar.impl_->handle, std::exchange(impl_->handle, nullptr));
}

bool GrammarMatcher::accept(int32_t token_id) {
  bool complete = false;
  FfiBytes error;
  check(mi_text_matcher_consume(impl_->handle, token_id, &complete, error.out()), error,
        impl_->param);
  return !complete;
}

}  // namespace miniinfer

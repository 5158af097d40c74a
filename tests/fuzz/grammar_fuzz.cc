// The first byte chooses the kind of a constraint, the rest is its text. One that compiles must
// allow only tokens that it then accepts, for a while.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "miniinfer/error.h"
#include "small_tokenizer.h"
#include "text/grammar.h"

namespace {

using namespace miniinfer;

constexpr int kTokens = 24;

const Tokenizer& tokenizer() {
  static const auto loaded = Tokenizer::from_json(small_tokenizer().dump(), kSmallConfig);
  return *loaded;
}

const GrammarVocabulary& vocabulary() {
  static const std::vector<int32_t> eos = {*tokenizer().eos_id()};
  static const GrammarVocabulary made(tokenizer(), tokenizer().vocab_size(), eos);
  return made;
}

void walk(const Grammar& grammar, uint32_t random) {
  GrammarMatcher matcher(grammar);
  const int64_t vocab = tokenizer().vocab_size();
  std::vector<uint32_t> bits((vocab + 31) / 32);
  for (int step = 0; step < kTokens; ++step) {
    matcher.fill(bits);
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < vocab; ++id)
      if (bits[id / 32] >> id % 32 & 1) allowed.push_back(id);
    if (allowed.empty()) std::abort();
    random = random * 1664525 + 1013904223;
    const int32_t token = allowed[(random >> 16) % allowed.size()];
    if (token == *tokenizer().eos_id() || !matcher.accept(token)) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const auto kind = static_cast<GrammarKind>(data[0] % 3);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const Grammar grammar(vocabulary(), kind, text, "structured_outputs");
    for (uint32_t seed = 0; seed < 3; ++seed) walk(grammar, seed);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInternal) return 0;
    std::fprintf(stderr, "%s\n", error.what());
    std::abort();
  }
  return 0;
}

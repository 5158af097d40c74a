#include "llm/structured_output.h"

#include <algorithm>
#include <future>
#include <list>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "llm/grammar_mask.h"
#include "llm/worker_pool.h"
#include "text/grammar.h"

namespace miniinfer {
namespace {

// Grammars kept for the next request with the same text. One takes its text several times over,
// hence the second limit.
constexpr size_t kMaxCached = 64;
constexpr size_t kMaxCachedBytes = size_t{4} << 20;

using GrammarPtr = std::shared_ptr<const Grammar>;

std::string quoted_for_regex(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~/").find(c) != std::string_view::npos) quoted += '\\';
    quoted += c;
  }
  return quoted;
}

// The choice's strings; empty when it is no array of strings.
std::vector<std::string> strings_of(const std::string& text, const std::string& source) {
  std::vector<std::string> strings;
  const Json json = parse_json(text, source, {.error = ErrorCode::kInvalidArgument, .nul = false});
  if (!json.is_array()) return {};
  for (const Json& item : json) {
    if (!item.is_string()) return {};
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

std::string regex_of_choice(const StructuredOutput& output) {
  const std::vector<std::string> choices = strings_of(output.text, output.param);
  if (choices.empty())
    throw Error(ErrorCode::kInvalidArgument,
                output.param + ": the choice must be an array of strings, at least one",
                output.param);
  std::string regex;
  for (const std::string& choice : choices) {
    regex += regex.empty() ? "(?:" : "|";
    regex += quoted_for_regex(choice);
  }
  return regex + ")";
}

GrammarPtr compile_grammar(const GrammarVocabulary& vocabulary, const StructuredOutput& output) {
  const auto make = [&](GrammarKind kind, std::string_view text) {
    return std::make_shared<const Grammar>(vocabulary, kind, text, output.param);
  };
  switch (output.kind) {
    case StructuredOutput::Kind::kJsonObject:
      return make(GrammarKind::kJsonSchema, R"({"type":"object"})");
    case StructuredOutput::Kind::kJsonSchema:
      return make(GrammarKind::kJsonSchema, output.text);
    case StructuredOutput::Kind::kRegex:
      return make(GrammarKind::kRegex, output.text);
    case StructuredOutput::Kind::kChoice:
      return make(GrammarKind::kRegex, regex_of_choice(output));
    case StructuredOutput::Kind::kGrammar:
      break;
  }
  return make(GrammarKind::kLark, output.text);
}

}  // namespace

class StructuredOutputCompiler::Impl {
 public:
  Impl(std::shared_ptr<const Tokenizer> tokenizer, int64_t vocab_size,
       std::vector<int32_t> eos_token_ids)
      : tokenizer_(std::move(tokenizer)),
        vocab_size_(vocab_size),
        eos_token_ids_(std::move(eos_token_ids)) {}

  MakeMask compile(const StructuredOutput& output) {
    prepare();
    return [grammar = find_or_compile(output), pool = pool_, vocab_size = vocab_size_] {
      return std::make_unique<GrammarMask>(pool, grammar, vocab_size);
    };
  }

 private:
  struct Entry {
    std::string key;
    std::shared_future<GrammarPtr> grammar;  // requests for one text share one compilation
  };

  void prepare() {
    std::call_once(prepared_, [this] {
      vocabulary_.emplace(*tokenizer_, vocab_size_, eos_token_ids_);
      // A mask takes 15 to 60 us, some ms at first: a thread keeps up with hundreds of sequences.
      pool_ = std::make_shared<WorkerPool>(std::clamp(available_cpus() / 4, 1, 8));
    });
  }

  GrammarPtr find_or_compile(const StructuredOutput& output) {
    std::string key = output.param + '\0' + static_cast<char>(output.kind) + output.text;
    std::promise<GrammarPtr> promise;
    {
      std::unique_lock lock(mutex_);
      for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
        if (entry->key != key) continue;
        entries_.splice(entries_.begin(), entries_, entry);
        const std::shared_future<GrammarPtr> grammar = entry->grammar;
        lock.unlock();
        return grammar.get();
      }
      entries_.push_front({key, promise.get_future().share()});
      bytes_ += key.size();
    }
    try {
      GrammarPtr grammar = compile_grammar(*vocabulary_, output);
      promise.set_value(grammar);
      std::lock_guard lock(mutex_);
      evict();
      return grammar;
    } catch (...) {
      promise.set_exception(std::current_exception());
      forget(key);
      throw;
    }
  }

  void evict() {
    while (entries_.size() > 1 && (entries_.size() > kMaxCached || bytes_ > kMaxCachedBytes)) {
      bytes_ -= entries_.back().key.size();
      entries_.pop_back();
    }
  }

  void forget(const std::string& key) {
    std::lock_guard lock(mutex_);
    const auto removed = std::erase_if(entries_, [&](const Entry& e) { return e.key == key; });
    bytes_ -= removed * key.size();
  }

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const int64_t vocab_size_;
  const std::vector<int32_t> eos_token_ids_;

  std::once_flag prepared_;
  std::optional<GrammarVocabulary> vocabulary_;
  std::shared_ptr<WorkerPool> pool_;  // masks hold it too

  std::mutex mutex_;
  std::list<Entry> entries_;  // the last used first
  size_t bytes_ = 0;          // of their keys
};

StructuredOutputCompiler::StructuredOutputCompiler(std::shared_ptr<const Tokenizer> tokenizer,
                                                   int64_t vocab_size,
                                                   std::vector<int32_t> eos_token_ids)
    : impl_(std::make_unique<Impl>(std::move(tokenizer), vocab_size, std::move(eos_token_ids))) {}
StructuredOutputCompiler::~StructuredOutputCompiler() = default;

StructuredOutputCompiler::MakeMask StructuredOutputCompiler::compile(
    const StructuredOutput& output) {
  return impl_->compile(output);
}

}  // namespace miniinfer

#include "llm/structured_output.h"

#include <algorithm>
#include <future>
#include <list>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/once.h"
#include "base/thread_pool.h"
#include "llm/grammar_mask.h"
#include "llm/worker_pool.h"
#include "text/grammar.h"

namespace miniinfer {
namespace {

// Grammars kept for the next request with the same text. An ordinary one holds 0.2 to 0.5 MB, the
// largest 32, hence the second limit, which is one of memory.
constexpr size_t kMaxCached = 64;
constexpr size_t kMaxCachedBytes = size_t{64} << 20;

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

  size_t cached_bytes() {
    std::lock_guard lock(mutex_);
    size_t bytes = 0;
    for (const Entry& entry : entries_) bytes += entry.bytes();
    return bytes;
  }

  MakeMask compile(const StructuredOutput& output) {
    prepare();
    return [grammar = find_or_compile(output), pool = pool_, vocab_size = vocab_size_] {
      return std::make_unique<GrammarMask>(pool, grammar, vocab_size);
    };
  }

 private:
  struct Entry {
    std::string key;
    std::shared_future<GrammarPtr> compilation;  // requests for one text share one
    GrammarPtr grammar;                          // once it is compiled
    size_t bytes() const { return key.size() + (grammar ? grammar->bytes() : 0); }
  };

  void prepare() {
    prepared_.call([this] {
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
        const std::shared_future<GrammarPtr> compilation = entry->compilation;
        evict();
        lock.unlock();
        return compilation.get();
      }
      entries_.push_front({key, promise.get_future().share(), nullptr});
    }
    try {
      GrammarPtr grammar = compile_grammar(*vocabulary_, output);
      promise.set_value(grammar);
      std::lock_guard lock(mutex_);
      for (Entry& entry : entries_)
        if (entry.key == key) entry.grammar = grammar;
      evict();
      return grammar;
    } catch (...) {
      promise.set_exception(std::current_exception());
      forget(key);
      throw;
    }
  }

  // Under mutex_. Sums anew each time: grammars grow with what texts teach them.
  void evict() {
    size_t bytes = 0, kept = 0;
    std::erase_if(entries_, [&](const Entry& entry) {
      bytes += entry.bytes();
      return ++kept > kMaxCached || bytes > kMaxCachedBytes;
    });
  }

  void forget(const std::string& key) {
    std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const Entry& e) { return e.key == key; });
  }

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const int64_t vocab_size_;
  const std::vector<int32_t> eos_token_ids_;

  Once prepared_;
  std::optional<GrammarVocabulary> vocabulary_;
  std::shared_ptr<WorkerPool> pool_;  // masks hold it too

  std::mutex mutex_;
  std::list<Entry> entries_;  // the last used first
};

StructuredOutputCompiler::StructuredOutputCompiler(std::shared_ptr<const Tokenizer> tokenizer,
                                                   int64_t vocab_size,
                                                   std::vector<int32_t> eos_token_ids)
    : impl_(std::make_unique<Impl>(std::move(tokenizer), vocab_size, std::move(eos_token_ids))) {}
StructuredOutputCompiler::~StructuredOutputCompiler() = default;

size_t StructuredOutputCompiler::cached_bytes() const {
  return impl_->cached_bytes();
}

StructuredOutputCompiler::MakeMask StructuredOutputCompiler::compile(
    const StructuredOutput& output) {
  return impl_->compile(output);
}

}  // namespace miniinfer

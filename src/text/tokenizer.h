#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace miniinfer {

// A Hugging Face tokenizer (tokenizer.json and tokenizer_config.json). Immutable, usable from any
// thread.
class Tokenizer {
 public:
  // Reads DIR/tokenizer.json and, when present, DIR/tokenizer_config.json. Throws Error not_found,
  // data_corrupt, unsupported with the file and the reason.
  static std::shared_ptr<const Tokenizer> from_directory(const std::filesystem::path& directory);
  // The same from the files' contents; `config_json` may be empty.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json,
                                                    std::string_view config_json);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // `add_special_tokens` applies the post-processor (BOS, EOS). With `parse_special` false, text
  // that spells a special token is encoded as plain text; rendered chat templates need true. Throws
  // invalid_argument on invalid UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens,
                              bool parse_special = true) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  int64_t vocab_size() const;  // highest id + 1, added tokens included
  std::optional<int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(int32_t id) const;
  bool is_special(int32_t id) const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::string bos_token() const;  // empty when none
  std::string eos_token() const;

 private:
  friend class Detokenizer;
  friend class GrammarVocabulary;
  friend std::vector<int32_t> encode_chat(const Tokenizer&, const class ChatTemplate&,
                                          const struct ChatRenderArgs&, std::string*);
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Incremental decoding of one sequence: emits only complete characters; the concatenation of all
// pieces and of finish() equals Tokenizer::decode of all ids.
class Detokenizer {
 public:
  Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens);
  ~Detokenizer();
  Detokenizer(Detokenizer&&) noexcept;
  std::string push(int32_t id);
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer

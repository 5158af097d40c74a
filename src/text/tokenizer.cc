#include "text/tokenizer.h"

#include <utility>

#include "miniinfer/error.h"
#include "text/ffi.h"
#include "text/text_file.h"
#include "text/tokenizer_impl.h"

namespace miniinfer {
namespace {

// The largest published tokenizer.json has 33 MB.
constexpr int64_t kMaxTokenizerBytes = int64_t{512} << 20;

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::from_directory(const std::filesystem::path& directory) {
  const auto json = read_model_file(directory, "tokenizer.json", kMaxTokenizerBytes);
  if (!json)
    throw Error(ErrorCode::kNotFound, (directory / "tokenizer.json").string() + ": no such file");
  const std::string config = read_tokenizer_config(directory);
  try {
    return from_json(*json, config);
  } catch (const Error& error) {
    // The message starts with the file's name.
    throw Error(error.code(), (directory / error.message()).string());
  }
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json,
                                                      std::string_view config_json) {
  auto impl = std::make_unique<Impl>();
  FfiBytes error;
  const int32_t status =
      mi_text_tokenizer_new(ffi_data(tokenizer_json), tokenizer_json.size(), ffi_data(config_json),
                            config_json.size(), &impl->handle, error.out());
  ffi_check(status, error);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens,
                                       bool parse_special) const {
  FfiIds ids;
  FfiBytes error;
  const int32_t status = mi_text_encode(impl_->handle, ffi_data(text), text.size(),
                                        add_special_tokens, parse_special, ids.out(), error.out());
  ffi_check(status, error, "prompt");
  return ids.vector();
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  FfiBytes text;
  FfiBytes error;
  const int32_t status = mi_text_decode(impl_->handle, ids.data(), ids.size(), skip_special_tokens,
                                        text.out(), error.out());
  ffi_check(status, error, "token_ids");
  return text.str();
}

int64_t Tokenizer::vocab_size() const {
  return mi_text_vocab_size(impl_->handle);
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const int32_t id = mi_text_token_to_id(impl_->handle, ffi_data(token), token.size());
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  FfiBytes token;
  if (!mi_text_id_to_token(impl_->handle, id, token.out())) return std::nullopt;
  return token.str();
}

bool Tokenizer::is_special(int32_t id) const {
  return mi_text_is_special(impl_->handle, id);
}

std::optional<int32_t> Tokenizer::bos_id() const {
  const int32_t id = mi_text_bos_id(impl_->handle);
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

std::optional<int32_t> Tokenizer::eos_id() const {
  const int32_t id = mi_text_eos_id(impl_->handle);
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

std::string Tokenizer::bos_token() const {
  FfiBytes token;
  mi_text_bos_token(impl_->handle, token.out());
  return token.str();
}

std::string Tokenizer::eos_token() const {
  FfiBytes token;
  mi_text_eos_token(impl_->handle, token.out());
  return token.str();
}

}  // namespace miniinfer

#include <gtest/gtest.h>

#include "small_tokenizer.h"
#include "support/temp_dir.h"
#include "text/chat_template.h"
#include "text/text_file.h"
#include "text/tokenizer.h"

namespace miniinfer {
namespace {

// A directory with the small tokenizer, whose tokenizer_config.json says that text ends with
// </s>.
struct ModelDir : TempDir {
  ModelDir() {
    write("tokenizer.json", small_tokenizer().dump());
    write("tokenizer_config.json",
          R"({"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ eos_token }}"})");
  }
  std::string eos() const { return Tokenizer::from_directory(path())->eos_token(); }
};

TEST(TokenizerConfig, AnOlderOneTakesTheSpecialTokensMap) {
  ModelDir dir;
  EXPECT_EQ(dir.eos(), "</s>");
  dir.write("special_tokens_map.json",
            R"({"eos_token": {"content": "<s>", "lstrip": false, "rstrip": false}})");
  EXPECT_EQ(dir.eos(), "<s>");
  EXPECT_EQ(Tokenizer::from_directory(dir.path())->bos_token(), "<s>");
  EXPECT_EQ(ChatTemplate::from_directory(dir.path())
                ->render({.messages_json = R"([{"role": "user", "content": "a"}])"}),
            "<s>");
  std::filesystem::remove(dir.path() / "tokenizer_config.json");
  EXPECT_EQ(dir.eos(), "<s>");
}

TEST(TokenizerConfig, ANewerOneStandsAlone) {
  ModelDir dir;
  dir.write("special_tokens_map.json", R"({"eos_token": "<s>"})");
  dir.write("tokenizer_config.json", R"({"eos_token": "</s>", "added_tokens_decoder": {}})");
  EXPECT_EQ(dir.eos(), "</s>");
}

TEST(TokenizerConfig, ABadSpecialTokensMapIsNamed) {
  ModelDir dir;
  const auto expect = [&](const char* content, const std::string& reason) {
    dir.write("special_tokens_map.json", content);
    expect_error(ErrorCode::kDataCorrupt,
                 (dir.path() / "special_tokens_map.json").string() + ": " + reason,
                 [&] { dir.eos(); });
  };
  expect("[]", "not an object but array");
  expect("{", "not valid JSON");
  expect(R"({"eos_token": "a", "eos_token": "b"})", "eos_token: duplicate key");
}

}  // namespace
}  // namespace miniinfer

#include <random>

#include <gtest/gtest.h>

#include "golden.h"
#include "miniinfer/error.h"
#include "text/chat_encode.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace miniinfer {
namespace {

using Ids = std::vector<int32_t>;

std::string streamed(const std::shared_ptr<const Tokenizer>& tokenizer, const Ids& ids, bool skip) {
  Detokenizer detokenizer(tokenizer, skip);
  std::string text;
  for (int32_t id : ids) text += detokenizer.push(id);
  return text + detokenizer.finish();
}

class TokenizerGolden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::from_directory(GetParam());
};

TEST_P(TokenizerGolden, EncodesAndDecodesAsTransformers) {
  int count = 0;
  for (const auto& line : read_json_lines(GetParam() / "expected.jsonl")) {
    SCOPED_TRACE(line.dump().substr(0, 300));
    const Ids ids = line.at("token_ids");
    if (line.contains("text")) {
      const std::string text = line.at("text");
      EXPECT_EQ(tokenizer_->encode(text, true), ids);
      EXPECT_EQ(tokenizer_->encode(text, false), line.at("token_ids_no_special").get<Ids>());
      EXPECT_EQ(tokenizer_->encode(text, false, false), line.at("token_ids_as_text").get<Ids>());
    }
    for (bool skip : {false, true}) {
      const std::string expected = line.at(skip ? "decoded_skip_special" : "decoded");
      EXPECT_EQ(tokenizer_->decode(ids, skip), expected);
      EXPECT_EQ(streamed(tokenizer_, ids, skip), expected);
    }
    ++count;
  }
  EXPECT_GT(count, 20);
}

TEST_P(TokenizerGolden, EncodesChatsAsTransformers) {
  const auto chat_template = ChatTemplate::from_directory(GetParam());
  if (!std::filesystem::exists(GetParam() / "expected_chat.jsonl")) {
    EXPECT_EQ(chat_template, nullptr);
    return;
  }
  ASSERT_NE(chat_template, nullptr);
  for (const auto& line : read_json_lines(GetParam() / "expected_chat.jsonl")) {
    SCOPED_TRACE(line.dump().substr(0, 300));
    ChatRenderArgs args{line.at("messages").dump(), dump_or_empty(line, "tools"),
                        dump_or_empty(line, "chat_template_kwargs"),
                        line.at("add_generation_prompt")};
    std::string rendered;
    if (!line.contains("text")) {
      EXPECT_THROW(encode_chat(*tokenizer_, *chat_template, args, &rendered), Error);
      continue;
    }
    const Ids ids = encode_chat(*tokenizer_, *chat_template, args, &rendered);
    EXPECT_EQ(rendered, line.at("text").get<std::string>());
    EXPECT_EQ(chat_template->render(args), line.at("text").get<std::string>());
    if (line.contains("token_ids")) {
      EXPECT_EQ(ids, line.at("token_ids").get<Ids>());
    }
    if (line.contains("special_ids")) {
      Ids special;
      for (int32_t id : ids) {
        if (tokenizer_->is_special(id)) special.push_back(id);
      }
      EXPECT_EQ(special, line.at("special_ids").get<Ids>());
      EXPECT_EQ(tokenizer_->decode(ids, false).find('\xF4'), std::string::npos)
          << "a mark survived";
    }
  }
}

// Whatever the model, every special token that a message spells stays text, whole or put together
// from two fields.
TEST_P(TokenizerGolden, MessagesNeverBecomeSpecialTokens) {
  const auto chat_template = ChatTemplate::from_source(
      "{% for m in messages %}{{ m.name }}{{ m.content }}{{ m.content | tojson }}"
      "{{ m.content | length }}{{ m.content | truncate(6, true, '', leeway=0) }}{% endfor %}",
      "");
  int count = 0;
  for (int32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
    const std::string text = tokenizer_->id_to_token(id).value_or("");
    if (!tokenizer_->is_special(id) || text.size() < 2) continue;
    for (const auto& [name, content] :
         {std::pair<std::string, std::string>{"", text},
          {text, text + text},
          {text.substr(0, text.size() / 2), text.substr(text.size() / 2)},
          {text.substr(0, 1), text.substr(1) + " and " + text}}) {
      const nlohmann::ordered_json messages = {{{"name", name}, {"content", content}}};
      std::string rendered;
      for (const int32_t got :
           encode_chat(*tokenizer_, *chat_template, {messages.dump(), "", "", true}, &rendered)) {
        // The unknown token is what some of the text becomes where the vocabulary lacks it.
        EXPECT_TRUE(!tokenizer_->is_special(got) || tokenizer_->id_to_token(got) == "<unk>")
            << name << " " << content << " -> " << got;
      }
      EXPECT_EQ(rendered, chat_template->render({messages.dump(), "", "", true}));
      ++count;
    }
  }
  EXPECT_GT(count, 0);
}

// Random ids cut characters, mix special and unused ids, and start and end anywhere.
TEST_P(TokenizerGolden, StreamsEqualFullDecodes) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::uniform_int_distribution<int32_t> any_id(0,
                                                static_cast<int32_t>(tokenizer_->vocab_size()) + 2);
  std::uniform_int_distribution<int> any_length(0, 40);
  // Low ids are bytes in most vocabularies; runs of them are where characters break.
  std::uniform_int_distribution<int32_t> low_id(0, 300);
  for (int round = 0; round < 1000; ++round) {
    Ids ids(static_cast<size_t>(any_length(random)));
    for (auto& id : ids) id = random() % 2 == 0 ? any_id(random) : low_id(random);
    const bool skip = random() % 2 == 0;
    ASSERT_EQ(streamed(tokenizer_, ids, skip), tokenizer_->decode(ids, skip))
        << testing::PrintToString(ids);
  }
}

// The class LlamaTokenizer of transformers 5.17 over the same files; `legacy` brings the space
// after special tokens back.
TEST(TokenizerClass, LlamaMarksSpacesOnce) {
  const auto directory = golden_directory() / "tokenizers/llama2";
  const std::string json = read_text(directory / "tokenizer.json");
  auto config = nlohmann::ordered_json::parse(read_text(directory / "tokenizer_config.json"));
  config["tokenizer_class"] = "LlamaTokenizerFast";
  const auto modern = Tokenizer::from_json(json, config.dump());
  EXPECT_EQ(modern->encode("<s>Hello", true), (Ids{1, 1, 75, 289, 295, 295, 298}));
  EXPECT_EQ(modern->encode(" Hello", true), (Ids{1, 342, 75, 289, 295, 295, 298}));
  EXPECT_EQ(modern->encode("Hello</s> there", true),
            (Ids{1, 342, 75, 289, 295, 295, 298, 2, 361, 353}));
  EXPECT_EQ(modern->decode(modern->encode("Hello there", true), false), "<s> Hello there");
  config["legacy"] = true;
  const auto legacy = Tokenizer::from_json(json, config.dump());
  EXPECT_EQ(legacy->encode("<s>Hello", true), (Ids{1, 1, 342, 75, 289, 295, 295, 298}));
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, testing::ValuesIn(golden_tokenizers()),
                         [](const auto& info) {
                           std::string name = info.param.filename().string();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace miniinfer

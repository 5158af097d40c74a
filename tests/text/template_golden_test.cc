#include <ctime>
#include <map>

#include <gtest/gtest.h>

#include "golden.h"
#include "miniinfer/error.h"
#include "text/chat_template.h"

namespace miniinfer {
namespace {

constexpr char kConfig[] = R"({"bos_token": "<s>", "eos_token": "</s>"})";

// The golden writes @{format} where a template printed the date.
std::string with_dates(std::string text) {
  for (size_t at; (at = text.find("@{")) != std::string::npos;) {
    const size_t end = text.find('}', at);
    const std::string format = text.substr(at + 2, end - at - 2);
    const std::time_t now = std::time(nullptr);
    char date[200];
    const size_t size = std::strftime(date, sizeof date, format.c_str(), std::localtime(&now));
    text.replace(at, end - at + 1, date, size);
  }
  return text;
}

TEST(TemplateGolden, RendersAsTransformers) {
  const auto directory = golden_directory() / "templates";
  const auto conversations =
      nlohmann::ordered_json::parse(read_text(directory / "conversations.json"));
  std::map<std::string, std::shared_ptr<const ChatTemplate>> templates;
  int count = 0;
  for (const auto& line : read_json_lines(directory / "expected.jsonl")) {
    const std::string name = line.at("template");
    auto& chat_template = templates[name];
    if (!chat_template)
      chat_template = ChatTemplate::from_source(read_text(directory / name), kConfig);
    const auto& conversation = conversations.at(line.at("conversation").get<std::string>());
    const auto field = [&](const char* key) {
      return conversation.contains(key) && !conversation[key].is_null() ? conversation[key].dump()
                                                                        : std::string();
    };
    const ChatRenderArgs args{field("messages"), field("tools"), field("chat_template_kwargs"),
                              line.at("add_generation_prompt")};
    SCOPED_TRACE(name + ", " + line.at("conversation").get<std::string>());
    try {
      const std::string text = chat_template->render(args);
      if (line.contains("text")) {
        EXPECT_EQ(text, with_dates(line.at("text")));
      } else {
        ADD_FAILURE() << "rendered what transformers refused: " << line.dump() << "\n" << text;
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
      EXPECT_FALSE(line.contains("text")) << error.what();
      if (line.contains("raised")) {
        EXPECT_NE(error.message().find(line.at("raised").get<std::string>()), std::string::npos)
            << error.what();
      }
    }
    ++count;
  }
  EXPECT_GT(count, 100);
}

}  // namespace
}  // namespace miniinfer

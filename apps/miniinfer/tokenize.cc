
#include <fmt/format.h>

#include "command.h"
#include "llm/checkpoint.h"
#include "llm/tokenize_lines.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer tokenize ./Qwen3-0.6B "Hello, world"
  miniinfer tokenize tiny-assistant "Hello, world" --json
  miniinfer tokenize ./Qwen3-0.6B --input-file lines.jsonl

A line of an input file is {"text": TEXT}, {"token_ids": [ID, ..], "stream": true} or {"messages": [..], "tools": [..],
"chat_template_kwargs": {..}, "add_generation_prompt": true}; its answer is one JSON object.)";

struct TokenizeFlags {
  std::string model, input_file, chat_template;
  std::optional<std::string> text;
  bool json = false, no_special_tokens = false;
};

int tokenize_file(const TextSide& text, const TokenizeFlags& flags) {
  LineReader lines(flags.input_file);
  int64_t number = 0;
  for (std::string line; lines.next(line, number);)
    print(to_line(tokenize_line(text, line, number, !flags.no_special_tokens)) + "\n");
  if (interrupted()) return kInterruptedExit;
  flush();
  return 0;
}

int tokenize(const TokenizeFlags& flags) {
  if (flags.text && !flags.input_file.empty())
    throw Error(ErrorCode::kInvalidArgument, "give one of TEXT and --input-file", "input_file");
  const ModelSource source = ModelSource::from_name(flags.model);
  const TextSide text = load_text_side(source, {}, flags.chat_template);
  if (!text.tokenizer)
    throw Error(ErrorCode::kNotFound, source.path_of("tokenizer.json") + ": no such file");
  if (!flags.input_file.empty()) return tokenize_file(text, flags);
  if (!flags.text && stdin_is_terminal())
    throw Error(ErrorCode::kInvalidArgument, "a text is needed: an argument, --input-file or stdin",
                "text");
  const std::string input = flags.text ? *flags.text : read_all("-");
  const std::vector<int32_t> ids = text.tokenizer->encode(input, !flags.no_special_tokens);
  if (flags.json) {
    Json json;
    json["token_ids"] = ids;
    print(to_line(json) + "\n");
  } else {
    for (const int32_t id : ids)
      print(fmt::format("{:>8}  {}\n", id, text.tokenizer->id_to_token(id).value_or("")));
    print(fmt::format("{} tokens\n", ids.size()));
  }
  flush();
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TokenizeFlags>();
  app.footer(kExamples);
  app.add_option("model", flags->model, "A Hugging Face directory, or tiny-assistant")
      ->option_text("MODEL")
      ->required();
  app.add_option("text", flags->text, "The text; default: stdin")->option_text("[TEXT]");
  app.add_option("--input-file", flags->input_file,
                 "JSON lines to encode, decode or render; - is stdin");
  app.add_option("--chat-template", flags->chat_template, "File of another chat template");
  app.add_flag("--json", flags->json, "Print JSON");
  app.add_flag("--no-special-tokens", flags->no_special_tokens,
               "Encode without adding special tokens, decode skipping them");
  app.callback([flags, &action] { action = [flags] { return tokenize(*flags); }; });
}

}  // namespace miniinfer

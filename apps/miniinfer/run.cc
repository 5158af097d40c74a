#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "base/json.h"
#include "command.h"
#include "flags.h"
#include "llm/core.h"
#include "llm/request_lines.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer run "What is the capital of France?"
  miniinfer run ./Qwen3-0.6B "Write a haiku about rain." --temperature 0.7 --max-tokens 64
  echo "Spell the word tree." | miniinfer run
  miniinfer run ./Qwen3-0.6B --messages chat.json
  miniinfer run ./Qwen3-0.6B --prompts-file prompts.jsonl --json > answers.jsonl

A prompt given as text is asked as a chat message when the model has a chat template; --raw continues it as it stands.
A line of a prompts file is {"prompt": TEXT}, {"prompt_token_ids": [ID, ..]} or {"messages": [..], "tools": [..],
"chat_template_kwargs": {..}}, and may carry sampling fields of its own (max_tokens, temperature, stop, ...).)";

struct RunFlags {
  std::vector<std::string> words;
  std::optional<std::string> prompt;
  std::string messages, prompts_file;
  bool json = false, raw = false;
  LLMOptions engine;
  SamplingFlags sampling;
};

bool looks_like_path(const std::string& word) {
  std::error_code error;  // a prompt may be longer than any file name
  return std::filesystem::is_directory(word, error) ||
         (word.find('/') != std::string::npos && word.find(' ') == std::string::npos);
}

// Sorts the words of the command line into a model and a prompt.
struct Inputs {
  std::string model;
  std::optional<std::string> prompt;
};
Inputs sort_words(const RunFlags& flags) {
  Inputs inputs;
  const bool other_source = flags.prompt || !flags.messages.empty() || !flags.prompts_file.empty();
  if (flags.words.size() == 2) {
    inputs = {flags.words[0], flags.words[1]};
  } else if (flags.words.size() == 1) {
    if (other_source || looks_like_path(flags.words[0]))
      inputs.model = flags.words[0];
    else
      inputs.prompt = flags.words[0];
  }
  const int sources = inputs.prompt.has_value() + flags.prompt.has_value() +
                      !flags.messages.empty() + !flags.prompts_file.empty();
  if (sources > 1)
    throw Error(ErrorCode::kInvalidArgument,
                "give one of PROMPT, --prompt, --messages and --prompts-file", "prompt");
  if (flags.prompt) inputs.prompt = flags.prompt;
  return inputs;
}

Prompt text_prompt(const LlmCore& core, const std::string& text, bool raw) {
  if (!is_utf8(text))
    throw Error(ErrorCode::kInvalidArgument, "prompt: the text is not UTF-8", "prompt");
  if (raw || !core.text().chat_template) return Prompt::from_text(text);
  Json message;
  message["role"] = "user";
  message["content"] = text;
  return Prompt::from_messages(Json::array({message}).dump());
}

// Streams one answer and closes with its speed.
int stream_answer(const std::shared_ptr<LlmCore>& core, const BatchItem& item) {
  const auto start = std::chrono::steady_clock::now();
  Stream stream = LlmCore::submit(core, item.prompt, item.params, item.default_max_tokens);
  int64_t tokens = 0;
  std::optional<Error> error;
  while (std::optional<StreamChunk> chunk = stream.next()) {
    tokens += static_cast<int64_t>(chunk->token_ids.size());
    print(chunk->text);
    flush();
    if (chunk->error) error = chunk->error;
    if (interrupted()) stream.cancel();
  }
  print("\n");
  flush();
  if (error) throw *error;
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print_note(fmt::format("{} tokens in {:.2f} s, {:.1f} tokens/s", tokens, seconds,
                         static_cast<double>(tokens) / seconds));
  return interrupted() ? kInterruptedExit : 0;
}

// Prints each result as it comes, as JSON or as plain text, and closes with the speed of the whole.
int run_lines(LlmCore& core, BatchCallbacks callbacks, bool json) {
  ProgressLine progress;
  int64_t answered = 0, failed = 0, output_tokens = 0;
  const double start = seconds_since_start();
  const auto done = [&](GenerateResult&& result) {
    progress.clear();
    const Json object = result_to_json(result);
    ++(object.contains("error") ? failed : answered);
    if (json) {
      print(to_line(object) + "\n");
    } else if (object.contains("error")) {
      print_error(object["error"]["message"].get<std::string>());
    } else {
      for (const Completion& output : result.outputs) print(output.text + "\n");
    }
    flush();
  };
  callbacks.done = done;
  callbacks.cancelled = interrupted;
  callbacks.progress = [&](const BatchProgress& now) {
    output_tokens = now.output_tokens;
    progress.show(
        -1, fmt::format("{} done, {:.1f} tokens/s", now.finished,
                        static_cast<double>(now.output_tokens) / (seconds_since_start() - start)));
  };
  const bool completed = run_batch(core, callbacks);
  progress.clear();
  if (!completed) return kInterruptedExit;
  const double seconds = seconds_since_start() - start;
  if (!json || stderr_is_terminal())
    print_note(fmt::format("{} prompts, {} tokens in {:.2f} s, {:.1f} tokens/s", answered,
                           output_tokens, seconds, static_cast<double>(output_tokens) / seconds));
  return json || failed == 0 ? 0 : 1;
}

int run_prompts_file(LlmCore& core, const RunFlags& flags, const BatchItem& defaults) {
  LineReader lines(flags.prompts_file);
  return run_lines(core,
                   {.ready = [&] { return lines.ready(); },
                    .next = [&]() -> std::optional<BatchItem> {
                      std::string line;
                      int64_t number = 0;
                      if (!lines.next(line, number)) return std::nullopt;
                      return parse_request_line(line, number, defaults);
                    }},
                   flags.json);
}

int run(const RunFlags& flags) {
  const Inputs inputs = sort_words(flags);
  const auto core = std::make_shared<LlmCore>(ModelSource::from_name(inputs.model), flags.engine);
  print_warnings(core->config().warnings);
  BatchItem item = flags.sampling.apply(core->default_sampling_params());
  item.params.validate();
  if (!flags.prompts_file.empty()) return run_prompts_file(*core, flags, item);
  if (!flags.messages.empty()) {
    item.prompt =
        prompt_from_chat_json(parse_json(read_all(flags.messages), flags.messages,
                                         {.error = ErrorCode::kInvalidArgument, .nul = false}));
  } else if (inputs.prompt) {
    item.prompt = text_prompt(*core, *inputs.prompt, flags.raw);
  } else if (!stdin_is_terminal()) {
    std::string text = read_all("-");
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    item.prompt = text_prompt(*core, text, flags.raw);
  } else {
    throw Error(ErrorCode::kInvalidArgument,
                "a prompt is needed: an argument, --prompt, --messages, --prompts-file or stdin",
                "prompt");
  }
  if (!flags.json && item.params.n == 1) return stream_answer(core, item);
  std::optional<BatchItem> only = std::move(item);
  return run_lines(*core, {.next = [&] { return std::exchange(only, std::nullopt); }}, flags.json);
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto flags = std::make_shared<RunFlags>();
  app.footer(kExamples);
  app.add_option("words", flags->words,
                 "MODEL is a Hugging Face directory; without one the embedded model answers")
      ->option_text("[MODEL] [PROMPT]")
      ->expected(0, 2);
  app.add_option("--prompt", flags->prompt, "The prompt");
  app.add_option("--messages", flags->messages,
                 "File of chat messages: an array, or an object with messages and tools");
  app.add_option("--prompts-file", flags->prompts_file, "JSON lines, one request each; - is stdin");
  app.add_flag("--json", flags->json, "Print one JSON object for each prompt and nothing else");
  app.add_flag("--raw", flags->raw, "Continue the text without the chat template");
  flags->sampling.add_to(app);
  add_engine_flags(app, flags->engine);
  app.callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace miniinfer

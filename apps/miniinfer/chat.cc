#include <chrono>
#include <cstdlib>

#include <fmt/format.h>

#include "command.h"
#include "flags.h"
#include "line_editor.h"
#include "llm/conversation.h"
#include "llm/core.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer chat
  miniinfer chat ./Qwen3-0.6B --system "Answer in one sentence." --temperature 0.7

In the chat: /system TEXT, /reset, /save FILE, /stats, /help, /exit; Ctrl-C stops an answer, Ctrl-D leaves.)";

constexpr const char* kHelp = R"(/system TEXT  set the system message (nothing: remove it)
/reset        forget the conversation
/save FILE    write the messages as JSON, for `miniinfer run --messages FILE`
/stats        tokens, speed and cache
/exit         leave (also Ctrl-D)
Ctrl-C stops an answer.
)";

struct ChatFlags {
  std::string model, system;
  LLMOptions engine;
  SamplingFlags sampling;
};

std::string history_file() {
  const char* home = std::getenv("HOME");
  return home == nullptr ? std::string() : std::string(home) + "/.miniinfer_history";
}

class Chat {
 public:
  explicit Chat(const ChatFlags& flags)
      : core_(std::make_shared<LlmCore>(ModelSource::from_name(flags.model), flags.engine)),
        sampling_(flags.sampling.apply(core_->default_sampling_params())),
        editor_("> ", history_file()) {
    print_warnings(core_->config().warnings);
    sampling_.params.validate();
    if (sampling_.params.n != 1)
      throw Error(ErrorCode::kInvalidArgument, "n: a chat takes one answer", "n");
    if (!core_->text().tokenizer || !core_->text().chat_template)
      throw Error(ErrorCode::kUnsupported,
                  core_->source().name + ": chat needs a tokenizer and a chat template");
    conversation_.set_system(flags.system);
  }

  int run() {
    stay_on_interrupt();  // Ctrl-C belongs to the answers
    if (stdin_is_terminal())
      print(fmt::format("{}. /help lists the commands.\n", core_->source().name));
    flush();
    while (std::optional<std::string> line = editor_.read()) {
      if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
      if (line->front() != '/')
        answer(*line);
      else if (!command(*line))
        break;
      flush();
    }
    if (stdin_is_terminal()) print("\n");
    flush();
    return 0;
  }

 private:
  // False when the chat ends.
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help") {
      print(kHelp);
    } else if (name == "/system") {
      set_system(rest);
    } else if (name == "/reset") {
      conversation_.reset();
    } else if (name == "/stats") {
      print_stats();
    } else if (name == "/save") {
      save(rest);
    } else {
      print(fmt::format("{}: no such command; /help lists them\n", name));
    }
    return true;
  }

  void set_system(const std::string& text) {
    try {
      conversation_.set_system(text);
    } catch (const Error& error) {
      print(fmt::format("error: {}\n", error.what()));
    }
  }

  void save(const std::string& path) {
    try {
      if (path.empty()) throw Error(ErrorCode::kInvalidArgument, "/save needs a file name");
      conversation_.save(path);
      print(fmt::format("saved to {}\n", path));
    } catch (const Error& error) {
      print(fmt::format("error: {}\n", error.what()));
    }
  }

  void answer(const std::string& question) {
    std::string text;
    const size_t before = conversation_.messages().size();
    try {
      conversation_.add("user", question);
      clear_interrupt();
      text = stream();
    } catch (const Error& error) {
      if (conversation_.messages().size() > before) conversation_.remove_last();
      print(fmt::format(
          "\nerror: {}{}\n", error.what(),
          error.message().starts_with("context_length_exceeded") ? " (/reset starts anew)" : ""));
      return;
    }
    conversation_.add("assistant", text);
    clear_interrupt();
  }

  std::string stream() {
    const auto start = std::chrono::steady_clock::now();
    Stream stream = LlmCore::submit(core_, conversation_.prompt(), sampling_.params,
                                    sampling_.default_max_tokens);
    std::string text;
    last_tokens_ = 0;
    while (std::optional<StreamChunk> chunk = stream.next()) {
      last_tokens_ += static_cast<int64_t>(chunk->token_ids.size());
      text += chunk->text;
      print(chunk->text);
      flush();
      if (chunk->error) throw *chunk->error;
      if (interrupted()) stream.cancel();
    }
    print("\n");
    last_prompt_tokens_ = static_cast<int64_t>(stream.prompt_token_ids().size());
    last_cached_tokens_ = stream.cached_tokens();
    last_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return text;
  }

  void print_stats() const {
    const EngineStats stats = core_->engine().stats();
    if (last_seconds_ > 0)
      print(fmt::format(
          "last answer: {} tokens in {:.2f} s, {:.1f} tokens/s; prompt {} tokens, "
          "{} of them cached\n",
          last_tokens_, last_seconds_, static_cast<double>(last_tokens_) / last_seconds_,
          last_prompt_tokens_, last_cached_tokens_));
    print(fmt::format(
        "in all: {} prompt tokens, {} generated; cache {} of {} blocks; context {} "
        "tokens\n",
        stats.prompt_tokens, stats.generated_tokens, stats.blocks_total - stats.blocks_free,
        stats.blocks_total, core_->engine().config().max_model_len));
  }

  std::shared_ptr<LlmCore> core_;
  BatchItem sampling_;
  LineEditor editor_;
  Conversation conversation_;
  int64_t last_tokens_ = 0, last_prompt_tokens_ = 0, last_cached_tokens_ = 0;
  double last_seconds_ = 0;
};

}  // namespace

void add_chat(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ChatFlags>();
  app.footer(kExamples);
  app.add_option("model", flags->model,
                 "A Hugging Face directory; without one the embedded model answers")
      ->option_text("[MODEL]");
  app.add_option("--system", flags->system, "The system message");
  flags->sampling.add_to(app);
  add_engine_flags(app, flags->engine);
  app.callback([flags, &action] { action = [flags] { return Chat(*flags).run(); }; });
}

}  // namespace miniinfer

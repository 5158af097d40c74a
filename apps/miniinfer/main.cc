#include <exception>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

#include "command.h"
#include "help.h"
#include "miniinfer/error.h"
#include "terminal.h"
#include "version.h"

namespace {

using miniinfer::Action;

constexpr int kUsageError = 2;
constexpr int kInternalError = 70;

struct Verb {
  const char* name;
  const char* help;
  void (*add)(CLI::App&, Action&);
};

constexpr Verb kVerbs[] = {
    {"run", "Answer prompts", miniinfer::add_run},
    {"chat", "Talk with a model in the terminal", miniinfer::add_chat},
    {"serve", "Answer over HTTP, as the OpenAI API does", miniinfer::add_serve},
    {"tokenize", "Text to tokens and back", miniinfer::add_tokenize},
    {"bench", "Measure speed", miniinfer::add_bench},
    {"eval", "Measure how many answers are exactly right", miniinfer::add_eval},
    {"inspect", "Show what a model is and what it needs", miniinfer::add_inspect},
    {"doctor", "Check this machine", miniinfer::add_doctor},
};

// CLI11's complaints can span lines and end in a full stop; ours are one line.
int usage_error(std::string message) {
  message = miniinfer::without_controls(message);
  while (!message.empty() && (message.back() == ' ' || message.back() == '.')) message.pop_back();
  miniinfer::print_error(message);
  return kUsageError;
}

// CLI11 reads numbers as C does: 0x10 is 16 and 010 is 8.
bool is_decimal(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  const bool octal = text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
  return !octal && text.find_first_of("xX") == std::string_view::npos;
}

// What the parser lets pass: a flag given twice, a mistake that would otherwise be settled by its
// order, and numbers that are not decimal.
void check_given(CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeLast &&
        option->count() > 1)
      throw CLI::ArgumentMismatch(option->get_name() + " was given more than once");
    const std::string type = option->get_type_name();
    if (!type.starts_with("INT") && !type.starts_with("UINT") && !type.starts_with("FLOAT"))
      continue;
    for (const std::string& value : option->results())
      if (!is_decimal(value))
        throw CLI::ConversionError(option->get_name() + ": \"" + value +
                                   "\" is not a decimal number");
  }
  for (CLI::App* verb : app.get_subcommands()) check_given(*verb);
}

int run(int argc, char** argv) {
  CLI::App app("MiniInfer runs open-weight language models from their Hugging Face directories.");
  app.name("miniinfer");
  app.formatter(std::make_shared<miniinfer::HelpFormatter>());  // the verbs inherit it
  app.set_version_flag("--version", std::string("miniinfer ") + miniinfer::kVersion);
  app.require_subcommand(1);
  app.footer("miniinfer VERB --help shows the flags of a verb with examples.");
  Action action;
  for (const Verb& verb : kVerbs) verb.add(*app.add_subcommand(verb.name, verb.help), action);
  try {
    app.parse(argc, argv);
    check_given(app);
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream text;
    const int code = app.exit(success, text);
    miniinfer::print(text.str());
    miniinfer::flush();
    return code;
  } catch (const CLI::RequiredError&) {
    if (app.get_subcommands().empty())
      return usage_error(
          "a verb is needed: run, chat, serve, tokenize, bench, eval, inspect or doctor");
    throw;
  }
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  miniinfer::install_signal_handlers();
  try {
    return run(argc, argv);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  } catch (const miniinfer::Error& error) {
    miniinfer::print_error(error.what());
    return miniinfer::exit_code(error.code());
  } catch (const std::bad_alloc&) {
    miniinfer::print_error("out of memory");
    return miniinfer::exit_code(miniinfer::ErrorCode::kResourceExhausted);
  } catch (const std::exception& error) {
    const auto* system = dynamic_cast<const std::system_error*>(&error);
    if (system != nullptr && system->code() == std::errc::resource_unavailable_try_again) {
      miniinfer::print_error("no further thread can be started: a limit on processes is reached");
      return miniinfer::exit_code(miniinfer::ErrorCode::kResourceExhausted);
    }
    miniinfer::print_error(std::string("internal: ") + error.what());
    return kInternalError;
  }
}

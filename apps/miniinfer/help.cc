#include "help.h"

#include <string_view>

namespace miniinfer {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// "TEXT:{a,b}" is {a,b}, "INT:INT in [1 - 9]" is INT in 1..9.
std::string value_text(const std::string& type) {
  const size_t colon = type.find(':');
  if (colon == std::string::npos) return type;
  const std::string check = type.substr(colon + 1);
  if (check.starts_with('{')) return check;
  const size_t range = check.find(" in [");
  if (range == std::string::npos) return type.substr(0, colon);
  std::string limits = check.substr(range + 5);
  if (limits.ends_with(']')) limits.pop_back();
  replace_all(limits, " - ", "..");
  return type.substr(0, colon) + " in " + limits;
}

}  // namespace

std::string HelpFormatter::make_option_usage(const CLI::Option* option) const {
  const std::string& text = option->get_option_text();
  return text.empty() ? Formatter::make_option_usage(option) : text;
}

std::string HelpFormatter::make_option_name(const CLI::Option* option, bool is_positional) const {
  const std::string& text = option->get_option_text();
  if (is_positional && !text.empty()) return text;
  std::string name = Formatter::make_option_name(option, is_positional);
  replace_all(name, "{false}", "");
  return name;
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (!option->get_option_text().empty()) return {};  // a positional: its name said it
  if (option->get_type_size() == 0) return {};        // a flag
  std::string text = " " + value_text(option->get_type_name());
  if (!option->get_default_str().empty()) text += " (" + option->get_default_str() + ")";
  if (option->get_required()) text += " (required)";
  return text;
}

}  // namespace miniinfer

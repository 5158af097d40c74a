#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace miniinfer {

// Help in the words of this program instead of CLI11's notation: "[MODEL] [PROMPT]" for
// "[words(0x)]", "INT in 1..4096" for "INT:INT in [1 - 4096]", "--no-x" for "--no-x{false}".
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_usage(const CLI::Option* option) const override;
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
};

}  // namespace miniinfer

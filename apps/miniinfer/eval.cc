#include "llm/eval.h"

#include <set>

#include <fmt/format.h>

#include "command.h"
#include "flags.h"
#include "llm/core.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer eval tiny-assistant
  miniinfer eval tiny-assistant --skill add --show-wrong 5
  miniinfer eval ./my-model --file questions.jsonl --json

A line of a file is {"skill": NAME, "messages": [..], "tools": [..], "expected": TEXT}.)";

struct EvalFlags {
  std::string model, file, skill;
  bool json = false;
  int show_wrong = 0;
  LLMOptions engine;
};

struct EvalSet {
  std::string name;
  std::vector<EvalItem> items;
};

std::vector<EvalSet> load_sets(const EvalFlags& flags, const ModelSource& source) {
  if (!flags.file.empty())
    return {{flags.file, parse_eval_items(read_all(flags.file), flags.file, flags.skill)}};
  std::vector<EvalSet> sets;
  for (const char* name : {"new_values", "new_phrasings"}) {
    const std::string path = std::string("eval/") + name + ".jsonl";
    const std::string text = source.read_text(path);
    if (!text.empty())
      sets.push_back({name, parse_eval_items(text, source.path_of(path), flags.skill)});
  }
  if (sets.empty())
    throw Error(ErrorCode::kInvalidArgument,
                source.name + " has no questions of its own: give --file", "file");
  return sets;
}

void print_table(const std::vector<EvalResult>& results) {
  std::set<std::string> skills;
  std::string header = fmt::format("{:<20}", "exact match");
  std::string overall = fmt::format("{:<20}", "overall");
  for (const EvalResult& result : results) {
    header += fmt::format(" {:>22}", result.name);
    overall += fmt::format(" {:>6.1f} % {:>6}/{:<6}", result.overall.percent(),
                           result.overall.correct, result.overall.total);
    for (const auto& [skill, score] : result.skills) skills.insert(skill);
  }
  print(header + "\n");
  for (const std::string& skill : skills) {
    std::string row = fmt::format("{:<20}", skill);
    for (const EvalResult& result : results) {
      const auto found = result.skills.find(skill);
      row += found == result.skills.end()
                 ? fmt::format(" {:>22}", "-")
                 : fmt::format(" {:>6.1f} % {:>6}/{:<6}", found->second.percent(),
                               found->second.correct, found->second.total);
    }
    print(row + "\n");
  }
  print(overall + "\n");
}

int eval(const EvalFlags& flags) {
  const ModelSource source = ModelSource::from_name(flags.model);
  const std::vector<EvalSet> sets = load_sets(flags, source);
  LlmCore core(source, flags.engine);
  std::vector<EvalResult> results;
  for (const EvalSet& set : sets) {
    EvalResult& result = results.emplace_back();
    result.name = set.name;
    ProgressLine line;
    const auto total = static_cast<double>(set.items.size());
    const bool completed =
        run_eval(core, set.items, result, interrupted, [&](const BatchProgress& now) {
          line.show(static_cast<double>(now.finished) / total,
                    fmt::format("{} {}/{}", set.name, now.finished, set.items.size()));
        });
    if (!completed) return kInterruptedExit;
  }
  if (flags.json)
    print(to_line(eval_to_json(results)) + "\n");
  else
    print_table(results);
  for (const EvalResult& result : results)
    for (size_t i = 0; i < result.wrong.size() && i < static_cast<size_t>(flags.show_wrong); ++i) {
      const EvalResult::Wrong& wrong = result.wrong[i];
      fmt::print(stderr, "{} {}: {}\n  expected: {}\n  answered: {}\n", result.name, wrong.skill,
                 wrong.prompt, Json(wrong.expected).dump(), Json(wrong.answer).dump());
    }
  flush();
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvalFlags>();
  app.footer(kExamples);
  app.add_option("model", flags->model, "tiny-assistant, or a Hugging Face directory")
      ->option_text("MODEL")
      ->required();
  app.add_option("--file", flags->file, "JSON lines of questions with their answers");
  app.add_option("--skill", flags->skill, "Only this skill");
  app.add_option("--show-wrong", flags->show_wrong,
                 "Print that many wrong answers of each set on stderr")
      ->check(CLI::Range(0, 1000000));
  app.add_flag("--json", flags->json, "Print JSON");
  add_engine_flags(app, flags->engine);
  app.callback([flags, &action] { action = [flags] { return eval(*flags); }; });
}

}  // namespace miniinfer

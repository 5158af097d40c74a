#include "llm/eval.h"

#include <chrono>

#include "llm/request_lines.h"

namespace miniinfer {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr const char* kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string required_string(const Json& json, const char* key, const std::string& source) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string())
    throw Error(ErrorCode::kInvalidArgument, source + ": " + key + ": must be a string", key);
  return found->get<std::string>();
}

Json score_to_json(const EvalScore& score) {
  Json json;
  json["correct"] = score.correct;
  json["total"] = score.total;
  json["percent"] = score.percent();
  return json;
}

}  // namespace

std::vector<EvalItem> parse_eval_items(std::string_view text, const std::string& source,
                                       const std::string& skill) {
  std::vector<EvalItem> items;
  for (size_t line_number = 1, begin = 0; begin < text.size(); ++line_number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    if (line.empty()) continue;
    const std::string where = source + ": line " + std::to_string(line_number);
    const Json json = parse_json(line, where, {.error = ErrorCode::kInvalidArgument});
    if (!json.is_object())
      throw Error(ErrorCode::kInvalidArgument, where + ": must be a JSON object");
    EvalItem item{.skill = required_string(json, "skill", where),
                  .prompt = prompt_from_chat_json(json),
                  .expected = required_string(json, "expected", where)};
    if (skill.empty() || item.skill == skill) items.push_back(std::move(item));
  }
  if (items.empty())
    throw Error(ErrorCode::kInvalidArgument,
                source + ": no item" + (skill.empty() ? "" : " of skill \"" + skill + "\""),
                "skill");
  return items;
}

bool run_eval(LlmCore& core, const std::vector<EvalItem>& items, EvalResult& result,
              const std::function<bool()>& cancelled,
              const std::function<void(const BatchProgress&)>& progress) {
  const auto start = std::chrono::steady_clock::now();
  size_t next = 0, answered = 0;
  SamplingParams greedy;
  greedy.temperature = 0;
  const auto take = [&](GenerateResult&& answer) {
    const EvalItem& item = items[answered++];
    if (answer.error) throw *answer.error;
    const Completion& output = answer.outputs.at(0);
    if (output.error) throw *output.error;
    const bool correct =
        output.finish_reason == "stop" && trimmed(output.text) == trimmed(item.expected);
    EvalScore& skill = result.skills[item.skill];
    ++skill.total;
    ++result.overall.total;
    skill.correct += correct;
    result.overall.correct += correct;
    result.output_tokens += static_cast<int64_t>(output.token_ids.size());
    if (!correct)
      result.wrong.push_back({item.skill, item.prompt.messages_json, item.expected, output.text});
  };
  const bool completed = run_batch(core, {.next = [&]() -> std::optional<BatchItem> {
                                            if (next == items.size()) return std::nullopt;
                                            return BatchItem{.prompt = items[next++].prompt,
                                                             .params = greedy,
                                                             .default_max_tokens = true};
                                          },
                                          .done = take,
                                          .cancelled = cancelled,
                                          .progress = progress});
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return completed;
}

Json eval_to_json(const std::vector<EvalResult>& results) {
  Json json;
  json["sets"] = Json::array();
  for (const EvalResult& result : results) {
    Json set;
    set["name"] = result.name;
    set["overall"] = score_to_json(result.overall);
    set["skills"] = Json::object();
    for (const auto& [skill, score] : result.skills) set["skills"][skill] = score_to_json(score);
    set["duration_s"] = result.seconds;
    set["output_tokens"] = result.output_tokens;
    json["sets"].push_back(std::move(set));
  }
  return json;
}

}  // namespace miniinfer

#include "serve/protocol/logprobs_json.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace miniinfer {
namespace {

// JSON has no infinity; clients know this value for "never".
double finite(float logprob) {
  return std::max(static_cast<double>(logprob), -9999.0);
}

Json chat_entry(const Tokenizer* tokenizer, int32_t id, float logprob) {
  const std::string token = token_text(tokenizer, id);
  Json bytes = Json::array();
  for (const char c : token) bytes.push_back(static_cast<uint8_t>(c));
  Json json;
  json["token"] = token;
  json["logprob"] = finite(logprob);
  json["bytes"] = std::move(bytes);
  return json;
}

}  // namespace

std::string token_text(const Tokenizer* tokenizer, int32_t id) {
  if (tokenizer == nullptr) return {};
  const std::array<int32_t, 1> ids = {id};
  return tokenizer->decode(ids, false);
}

Json chat_logprobs(const Tokenizer* tokenizer, std::span<const LogprobEntry> entries) {
  Json content = Json::array();
  for (const LogprobEntry& entry : entries) {
    Json item = chat_entry(tokenizer, entry.token_id, entry.logprob);
    Json& top = item["top_logprobs"] = Json::array();
    for (const auto& [id, logprob] : entry.top) top.push_back(chat_entry(tokenizer, id, logprob));
    content.push_back(std::move(item));
  }
  Json json;
  json["content"] = std::move(content);
  json["refusal"] = nullptr;
  return json;
}

Json completion_logprobs(const Tokenizer* tokenizer,
                         std::span<const std::optional<LogprobEntry>> entries,
                         const std::vector<int32_t>& token_ids, size_t& offset) {
  Json offsets = Json::array(), logprobs = Json::array();
  Json tokens = Json::array(), tops = Json::array();
  for (size_t i = 0; i < entries.size() && i < token_ids.size(); ++i) {
    const std::string token = token_text(tokenizer, token_ids[i]);
    tokens.push_back(token);
    offsets.push_back(offset);
    // In characters, as Python's clients count.
    offset += static_cast<size_t>(std::count_if(token.begin(), token.end(), [](char c) {
      return (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    }));
    if (!entries[i]) {
      logprobs.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    logprobs.push_back(finite(entries[i]->logprob));
    Json top = Json::object();
    for (const auto& [id, logprob] : entries[i]->top)
      top.emplace(token_text(tokenizer, id), finite(logprob));
    top.emplace(token, finite(entries[i]->logprob));
    tops.push_back(std::move(top));
  }
  Json json;
  json["text_offset"] = std::move(offsets);
  json["token_logprobs"] = std::move(logprobs);
  json["tokens"] = std::move(tokens);
  json["top_logprobs"] = std::move(tops);
  return json;
}

Json prompt_logprobs_json(const Tokenizer* tokenizer,
                          const std::vector<std::optional<LogprobEntry>>& entries) {
  Json json = Json::array();
  for (const std::optional<LogprobEntry>& entry : entries) {
    if (!entry) {
      json.push_back(nullptr);
      continue;
    }
    Json item = Json::object();
    const auto add = [&](int32_t id, float logprob, Json rank) {
      Json value;
      value["logprob"] = finite(logprob);
      value["rank"] = std::move(rank);
      value["decoded_token"] = token_text(tokenizer, id);
      item.emplace(std::to_string(id), std::move(value));
    };
    for (size_t rank = 0; rank < entry->top.size(); ++rank)
      add(entry->top[rank].first, entry->top[rank].second, rank + 1);
    add(entry->token_id, entry->logprob, nullptr);  // nothing when it is among the likeliest
    json.push_back(std::move(item));
  }
  return json;
}

}  // namespace miniinfer

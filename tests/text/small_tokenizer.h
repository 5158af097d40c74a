#pragma once

#include <string>

#include "base/json.h"

namespace miniinfer {

// A byte-level BPE over bytes, a few merges and three special tokens, as the JSON of its
// tokenizer.json. Tests change one field of it.
inline nlohmann::ordered_json small_tokenizer() {
  nlohmann::ordered_json vocab;
  int id = 0;
  // The byte-level alphabet: printable bytes stand for themselves, the others for U+0100 and up.
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const int code = printable ? byte : next++;
    std::string text;
    if (code < 0x80) {
      text = static_cast<char>(code);
    } else {
      text = {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
    }
    vocab[text] = id++;
  }
  nlohmann::ordered_json merges = nlohmann::ordered_json::array();
  const auto merge = [&](const char* left, const char* right) {
    merges.push_back({left, right});
    vocab[std::string(left) + right] = id++;
  };
  merge("h", "e");
  merge("l", "l");
  merge("he", "ll");
  merge("hell", "o");
  merge("a", "a");
  merge("aa", "aa");
  nlohmann::ordered_json added = nlohmann::ordered_json::array();
  for (const char* content : {"<s>", "</s>", "<|im_end|>"}) {
    added.push_back({{"id", id++},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"},
            {"add_prefix_space", false},
            {"trim_offsets", true},
            {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder",
           {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", true},
            {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merges}}}};
}

inline constexpr char kSmallConfig[] =
    R"({"bos_token": "<s>", "eos_token": {"content": "</s>", "special": true}})";

}  // namespace miniinfer

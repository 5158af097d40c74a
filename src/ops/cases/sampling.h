#pragma once

#include <cstdint>

namespace miniinfer {

// Rows and settings worth timing and testing: greedy is one pass over the logits, a plain draw two,
// filters a few more. 4096 is the vocabulary of a 6M-parameter model, 151936 that of Qwen.
struct SampleTokensCase {
  int64_t rows, vocab;
  double temperature;
  int top_k;
  double top_p;
  double min_p;
  const char* name;
};

inline constexpr SampleTokensCase kSampleTokensCases[] = {
    {1, 4096, 0, 0, 1, 0, "greedy"},
    {1, 151936, 0, 0, 1, 0, "greedy"},
    {256, 1024, 0, 0, 1, 0, "greedy"},
    {16, 151936, 0, 0, 1, 0, "greedy"},
    {1, 4096, 0.6, 0, 1, 0, "draw"},
    {256, 1024, 0.6, 0, 1, 0, "draw"},
    {16, 151936, 0.6, 0, 1, 0, "draw"},
    {256, 4096, 0.6, 0, 1, 0, "draw"},
    {256, 1024, 0.6, 50, 1, 0, "top-k 50"},
    {256, 1024, 0.6, 0, 0.9, 0, "top-p 0.9"},
    {16, 151936, 0.6, 50, 1, 0, "top-k 50"},
    {16, 151936, 0.6, 0, 0.95, 0, "top-p 0.95"},
    {16, 151936, 0.6, 0, 1, 0.05, "min-p 0.05"},
    {16, 151936, 0.6, 50, 0.95, 0.05, "top-k 50, top-p 0.95, min-p 0.05"},
};

// On a GPU, where greedy rows have a kernel of their own: vocabularies of 8B and 0.6B models.
inline constexpr SampleTokensCase kSampleBatchCases[] = {
    {256, 128256, 0, 0, 1, 0, "greedy"},
    {256, 128256, 0.6, 0, 1, 0, "draw"},
    {256, 128256, 0.6, 20, 0.95, 0, "top-k 20, top-p 0.95"},
    {256, 151936, 0, 0, 1, 0, "greedy"},
    {256, 151936, 0.6, 0, 1, 0, "draw"},
    {256, 151936, 0.6, 50, 1, 0, "top-k 50"},
    {256, 151936, 0.6, 0, 0.95, 0, "top-p 0.95"},
    {256, 151936, 0.3, 0, 0.95, 0, "temperature 0.3, top-p 0.95"},
    {256, 151936, 1, 0, 0.95, 0, "temperature 1, top-p 0.95"},
    {256, 151936, 0.6, 0, 1, 0.05, "min-p 0.05"},
    {256, 151936, 0.6, 20, 0.95, 0, "top-k 20, top-p 0.95"},
    {256, 151936, 0.6, 1000, 1, 0, "top-k 1000"},
    {1, 151936, 0, 0, 1, 0, "greedy"},
    {1, 151936, 0.6, 20, 0.95, 0, "top-k 20, top-p 0.95"},
    {1, 151936, 0.6, 0, 0.95, 0, "top-p 0.95"},
};

struct TokenLogprobsCase {
  int64_t rows, vocab;
  int top;
};

inline constexpr TokenLogprobsCase kTokenLogprobsCases[] = {
    {1, 4096, 0}, {16, 151936, 0}, {16, 151936, 5}, {16, 151936, 20}};

}  // namespace miniinfer

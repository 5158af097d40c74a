#pragma once

// Which of the matrix library's algorithms a product takes. Host code, no CUDA.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "miniinfer/ops/linear.h"

namespace miniinfer::cuda {

// What a choice depends on. x and weight have one dtype; whether a product adds to its output is
// not told to the library's heuristics either.
struct GemmKey {
  int64_t m = 0;  // a bucket: gemm_bucket(rows)
  int64_t n = 0;
  int64_t k = 0;
  DType in = DType::kBFloat16;
  DType out = DType::kBFloat16;
  bool bias = false;   // added by the product itself
  int alignment = 16;  // bytes that divide every address and row stride: 16, 8, 4 or 2
  bool operator==(const GemmKey&) const = default;
};

struct GemmKeyHash {
  size_t operator()(const GemmKey& key) const;
};

// The smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24.. that is not below m: rows that share a choice. Two
// to an octave: between neighbours the best algorithm costs at most some per cent.
int64_t gemm_bucket(int64_t m);

// An algorithm in the library's own encoding, valid for one version of it.
struct GemmChoice {
  uint64_t words[8] = {};
};

// Choices for one kind of device and one version of the library.
class GemmTable {
 public:
  GemmTable(std::string device, uint64_t version) : device_(std::move(device)), version_(version) {}

  const GemmChoice* find(const GemmKey& key) const;
  void insert(const GemmKey& key, const GemmChoice& choice) { choices_[key] = choice; }
  size_t size() const { return choices_.size(); }

  // Takes over the lines of a table for the same device and version; entries that are here win.
  // Returns how many came: 0 for a text of another device, another version, or no table at all.
  size_t merge(std::string_view text);
  std::string to_text() const;  // sorted, so that equal tables are equal files

 private:
  std::string device_;
  uint64_t version_;
  std::unordered_map<GemmKey, GemmChoice, GemmKeyHash> choices_;
};

// The tables that come with the program.
std::span<const std::string_view> shipped_gemm_tables();

// The group with neighbours joined whose weights follow each other in memory and whose outputs are
// columns side by side: one product then does the work of several. Members with a bias stay apart.
std::vector<LinearArgs> join_adjacent(std::span<const LinearArgs> group);

// The largest of 16, 8, 4, 2 that divides `address` and `stride_bytes`.
int alignment_of(const void* address, int64_t stride_bytes);

}  // namespace miniinfer::cuda

#pragma once

// Matrix products through cuBLASLt.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "miniinfer/context.h"
#include "miniinfer/ops/linear.h"
#include "ops/cuda/cublaslt.h"
#include "ops/cuda/gemm_search.h"
#include "ops/cuda/gemm_table.h"

namespace miniinfer::cuda {

// Device memory that products of one context use as scratch, at one address for ever: what NVIDIA
// advises for Hopper.
inline constexpr size_t kGemmWorkspaceBytes = size_t{32} << 20;

// The library's handle, the workspace, and the choices of one context.
class GemmState {
 public:
  // The state of `context`, made by the first call: opens the library and reads the tables (the
  // user's cache, then the shipped ones). Throws Error unsupported without the library,
  // resource_exhausted.
  static GemmState& of(ExecContext& context);

  explicit GemmState(ExecContext& context);
  ~GemmState();
  GemmState(const GemmState&) = delete;
  GemmState& operator=(const GemmState&) = delete;

  // Queues one product; false when the library has no algorithm for it and nothing was queued.
  // Takes the table's choice, or the library's first where the table has none; never measures,
  // never allocates device memory, so that it may be captured into a graph.
  bool run(ExecContext& context, const LinearArgs& args);

  // search_products() without saving.
  std::vector<GemmSearch> search(ExecContext& context, std::span<const GemmProblem> problems,
                                 const GemmSearchOptions& options);

  // Writes the table to the user's cache; a directory that cannot be written is no error. Returns
  // whether it was written.
  bool save();
  const std::string& cache_file() const { return cache_file_; }  // empty: there is no such place
  // What was wrong with the table in the user's cache when it was read; empty for nothing, and
  // after save().
  const std::string& damage() const { return damage_; }
  const GemmTable& table() const { return table_; }

 private:
  // All that the library is asked for: the operation and the three matrices.
  struct ProductKey {
    GemmKey gemm;  // with the rows themselves, not their bucket
    int64_t x_stride, weight_stride, out_stride;
    bool operator==(const ProductKey&) const = default;
  };
  struct ProductKeyHash {
    size_t operator()(const ProductKey& key) const {
      return GemmKeyHash()(key.gemm) ^ static_cast<size_t>(key.x_stride * 31 + key.weight_stride) ^
             static_cast<size_t>(key.out_stride) << 20;
    }
  };
  struct Product;  // the library's descriptions of it, and the algorithm chosen
  struct Search;

  void read_cache();
  Product make_product(const ProductKey& key) const;
  std::vector<LtHeuristic> candidates(const Product& product, int alignment, int wanted,
                                      uint32_t reductions) const;
  bool check(const Product& product, const LtAlgo& algo) const;  // it runs, in our workspace
  bool choose(const GemmKey& key, Product& product) const;
  // One algorithm for any number of rows: of a product of the same matrices otherwise.
  bool choose_for_all_rows(const ProductKey& key, Product& product);
  int launch(const Product& product, const LinearArgs& args, const LtAlgo& algo,
             CUstream_st* stream) const;
  GemmSearch search_one(ExecContext& context, const GemmProblem& problem, Search& memory);

  const CublasLt& lt_;
  LtContext* handle_ = nullptr;
  Tensor workspace_;
  GemmTable table_;
  std::string cache_file_, damage_;
  std::unordered_map<ProductKey, std::unique_ptr<Product>, ProductKeyHash> products_;
  std::unordered_map<GemmKey, std::optional<LtAlgo>, GemmKeyHash> for_all_rows_;  // keys of 0 rows
};

// ~/.cache/miniinfer/gemm-<device>-<version>.txt, by XDG_CACHE_HOME and HOME; empty without both.
std::string gemm_cache_file(const std::string& device, uint64_t version);

}  // namespace miniinfer::cuda

#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "miniinfer/tensor.h"
#include "weights/weight_store.h"

namespace miniinfer {

// Hands the layers their weights out of a store. On a CPU, with float32 activations, every stored
// dtype is used in place; else a matrix in another dtype than the activations' is converted once,
// here.
class WeightLoader {
 public:
  // Of a CPU what is handed out is there to be read; of a device upload() copies it, which knows
  // what is not.
  WeightLoader(std::shared_ptr<const WeightStore> store, DType activation_dtype,
               Device device = {});
  ~WeightLoader();
  WeightLoader(WeightLoader&&) noexcept;

  // Throw Error data_corrupt when the tensor is missing or has another shape, unsupported when it
  // is of no floating-point type.
  ConstTensorView matrix(const std::string& name, int64_t rows, int64_t columns);
  ConstTensorView table(const std::string& name, int64_t rows,
                        int64_t columns);                         // in place whatever its dtype
  ConstTensorView vector(const std::string& name, int64_t size);  // in place whatever its dtype

  // `weight` as [outer, from, inner], a copy with `to` >= `from` in the middle, the rest zeros; in
  // the given shape.
  ConstTensorView pad(const ConstTensorView& weight, const Shape& shape, int64_t outer,
                      int64_t from, int64_t to);

  std::optional<WeightStore::Pattern> pattern_of(const ConstTensorView& tensor) const {
    return store_->pattern_of(tensor);
  }
  // False over a store of names and shapes only.
  bool readable() const { return store_->readable(); }
  // Frees the copies that matrix() and pad() made, once their contents have gone elsewhere.
  void drop_conversions() { converted_.clear(); }

  DType activation_dtype() const { return activation_dtype_; }
  // Starts to map the weights ahead of their first use, unless converted copies took their place.
  void prefetch() const;
  // Throws Error data_corrupt once a file was truncated or failed under its mapping: what was read
  // since then were zeros.
  void require_intact() const;
  // The file that messages about a tensor begin with.
  std::string where() const;
  // Names of the store that were not asked for.
  std::vector<std::string> unused() const;

 private:
  ConstTensorView get(const std::string& name, const Shape& shape);

  std::shared_ptr<const WeightStore> store_;
  DType activation_dtype_;
  Device device_;  // of the products
  std::unordered_set<std::string> used_;
  std::vector<std::unique_ptr<Tensor>> converted_;
};

// Whether matrix() converts a tensor stored as `stored`. A CUDA device multiplies two dtypes some
// 100 times slower than one.
inline bool needs_conversion(DType stored, DType activation_dtype, Device device) {
  const bool mixes = device.type == DeviceType::kCpu && activation_dtype == DType::kFloat32;
  return !mixes && stored != activation_dtype;
}

}  // namespace miniinfer

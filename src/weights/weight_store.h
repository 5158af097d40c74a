#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/tensor.h"

namespace miniinfer {

// The tensors of a checkpoint by name, memory-mapped and checked before anything is allocated.
class WeightStore {
 public:
  virtual ~WeightStore() = default;

  // DIR/model.safetensors, or the shards of DIR/model.safetensors.index.json. Every header is
  // checked in full: sizes, offsets, overlaps, names. Throws Error not_found, data_corrupt as
  // "<file>: <field>: <reason>".
  static std::shared_ptr<const WeightStore> open(const std::filesystem::path& directory);

  // One safetensors file held in memory (the embedded model); which it takes over.
  static std::shared_ptr<const WeightStore> from_memory(std::vector<uint8_t> bytes,
                                                        std::string name);

  // Tensors of any name and shape that is asked for, filled with seeded random values of `dtype`
  // (`--load-format dummy`): normal with deviation 0.02 for matrices, 1 for vectors whose name ends
  // in "norm.weight". Backed by one mapping so that a 1.2 GB model takes well under a second.
  static std::shared_ptr<const WeightStore> dummy(DType dtype, uint64_t seed);

  // Starts to map the files' pages ahead of their first use, on a thread that runs only while a CPU
  // is idle. Two busy threads take 42 ms to fault 1.2 GB of cached pages in; what was mapped before
  // they start is taken off that.
  virtual void prefetch() const {}

  // Gives the memory of a tensor back that was converted to another dtype; it is read again when it
  // is used again.
  virtual void release(const ConstTensorView& /*tensor*/) const {}

  virtual bool contains(std::string_view name) const = 0;
  // Throws Error data_corrupt when the tensor is missing or has another shape.
  virtual ConstTensorView get(std::string_view name, const Shape& shape) const = 0;
  // The same, for who copies it to a device or asks for fill() before reading it: its bytes may not
  // have been written yet.
  virtual ConstTensorView get_unfilled(std::string_view name, const Shape& shape) const {
    return get(name, shape);
  }
  // What a tensor that was not filled holds: the period again and again, from byte `phase` of it
  // on.
  struct Pattern {
    std::span<const uint8_t> period;
    size_t phase = 0;
  };
  // Nothing for a tensor whose bytes are there.
  virtual std::optional<Pattern> pattern_of(const ConstTensorView& /*tensor*/) const { return {}; }
  virtual void fill(const ConstTensorView& /*tensor*/) const {}
  virtual std::vector<std::string> names() const = 0;
  // Shape and dtype as stored, for listings. Throws not_found.
  virtual ConstTensorView find(std::string_view name) const = 0;
  // False when tensors have names and shapes only, to lay a network out without its weights.
  virtual bool readable() const { return true; }
  // Bytes that stay mapped.
  virtual size_t num_bytes() const = 0;
  // The file that messages about a tensor begin with.
  virtual std::string where() const { return "weights"; }
  // True once a file was truncated or failed under the mapping: what was read since is not to be
  // trusted.
  virtual bool damaged() const = 0;
};

}  // namespace miniinfer

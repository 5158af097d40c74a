#pragma once

#include <cstdint>
#include <vector>

namespace miniinfer {

using BlockId = int32_t;
inline constexpr BlockId kNoBlock = -1;

// The ids of a device's KV blocks with a count of holders each: sequences, and the prefix tree.
// Allocation and release are O(1) and take no memory. Not thread-safe: one thread owns it.
class BlockPool {
 public:
  explicit BlockPool(int64_t num_blocks);

  // A free block, held once; kNoBlock when there is none.
  BlockId allocate();
  void retain(BlockId block);
  // Gives up one hold and returns how many are left; at 0 the block is free again.
  int32_t release(BlockId block);

  int32_t holders(BlockId block) const { return holders_[block]; }
  int64_t num_blocks() const { return static_cast<int64_t>(holders_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t num_holds() const { return num_holds_; }  // the sum of all counts

 private:
  std::vector<int32_t> holders_;
  std::vector<BlockId>
      free_;  // a stack: the block released last is warm in the caches and goes out first
  int64_t num_holds_ = 0;
};

}  // namespace miniinfer

#include "kvcache/block_pool.h"

#include <limits>

#include "base/check.h"

namespace miniinfer {

BlockPool::BlockPool(int64_t num_blocks) {
  require(num_blocks >= 1 && num_blocks <= std::numeric_limits<BlockId>::max(),
          ErrorCode::kInvalidArgument, "kv cache: {} blocks are not between 1 and 2^31 - 1",
          num_blocks);
  holders_.resize(num_blocks);
  free_.reserve(num_blocks);
  for (int64_t block = num_blocks - 1; block >= 0; --block)
    free_.push_back(static_cast<BlockId>(block));
}

BlockId BlockPool::allocate() {
  if (free_.empty()) return kNoBlock;
  const BlockId block = free_.back();
  free_.pop_back();
  holders_[block] = 1;
  ++num_holds_;
  return block;
}

void BlockPool::retain(BlockId block) {
  MI_CHECK(holders_[block] > 0, "block {} is free", block);
  ++holders_[block];
  ++num_holds_;
}

int32_t BlockPool::release(BlockId block) {
  MI_CHECK(holders_[block] > 0, "block {} is free", block);
  --num_holds_;
  if (--holders_[block] == 0) free_.push_back(block);
  return holders_[block];
}

}  // namespace miniinfer

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kvcache/block_pool.h"

namespace miniinfer {

using RootId = int32_t;

// Remembers which blocks hold which token prefixes. A node is one full block of tokens below its
// parent block or a root, and is named by the block that holds it. Children are found through a
// keyed hash and their tokens compared, so two prefixes never meet; roots separate what must not be
// shared (cache salts, adapters).
//
// Every block of a sequence passes through retain() and release() here. A block that only the tree
// holds is evictable, the least recently released first. Two rules make the oldest evictable node a
// leaf, so that eviction is O(1): who holds a node holds its ancestors too, and releases the
// deepest first.
//
// All storage is sized at construction by the pool; opening a root is the only call that allocates.
class PrefixTree {
 public:
  PrefixTree(BlockPool& pool, int block_size);

  // A root for `key`, the same one while it is open or has cached blocks. Close what was opened.
  RootId open_root(std::string_view key);
  void close_root(RootId root);

  // The child of `parent` (kNoBlock: of the root) that holds `tokens` [block_size], or kNoBlock.
  // Takes no hold.
  BlockId find(RootId root, BlockId parent, std::span<const int32_t> tokens) const;

  // Makes `block`, held by the caller, a node. When an equal node is there already, the caller's
  // hold moves to it and `block` is released. Returns the node's block. `parent` must be a node
  // that the caller holds.
  BlockId insert(RootId root, BlockId parent, std::span<const int32_t> tokens, BlockId block);

  void retain(BlockId block);
  void release(BlockId block);

  // A block held once, evicting the oldest cached one when none is free; kNoBlock when there is
  // neither.
  BlockId allocate();

  bool contains(BlockId block) const { return nodes_[block].root >= 0; }
  bool evictable(BlockId block) const { return contains(block) && pool_.holders(block) == 1; }
  int64_t num_nodes() const { return num_nodes_; }
  int64_t num_evictable() const { return num_evictable_; }
  int64_t num_roots() const { return static_cast<int64_t>(root_ids_.size()); }
  int64_t num_available() const { return pool_.num_free() + num_evictable_; }

 private:
  struct Node {
    RootId root = -1;  // -1: not in the tree
    BlockId parent = kNoBlock;
    BlockId next_in_bucket = kNoBlock;
    BlockId older = kNoBlock, newer = kNoBlock;  // neighbours among the evictable
    uint32_t hash = 0;
    int32_t num_children = 0;
  };
  struct Root {
    const std::string* key = nullptr;  // in root_ids_
    int64_t uses = 0;                  // openings and first-level nodes
  };

  uint32_t hash_of(RootId root, BlockId parent, std::span<const int32_t> tokens) const;
  bool matches(BlockId node, RootId root, BlockId parent, std::span<const int32_t> tokens) const;
  void link_newest(BlockId block);
  void unlink(BlockId block);
  void evict_oldest();
  void drop_root_use(RootId root);

  BlockPool& pool_;
  int block_size_;
  uint64_t hash_key_;
  std::vector<Node> nodes_;       // by block
  std::vector<int32_t> tokens_;   // [num_blocks, block_size]
  std::vector<BlockId> buckets_;  // heads of the hash chains; a power of two
  BlockId oldest_ = kNoBlock, newest_ = kNoBlock;
  int64_t num_nodes_ = 0, num_evictable_ = 0;
  std::vector<Root> roots_;
  std::vector<RootId> free_roots_;
  std::unordered_map<std::string, RootId> root_ids_;
};

}  // namespace miniinfer

#include "kvcache/prefix_tree.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

#include "base/check.h"

namespace miniinfer {

PrefixTree::PrefixTree(BlockPool& pool, int block_size) : pool_(pool), block_size_(block_size) {
  MI_CHECK(block_size >= 1);
  nodes_.resize(pool.num_blocks());
  tokens_.resize(pool.num_blocks() * block_size);
  buckets_.assign(std::bit_ceil(static_cast<uint64_t>(pool.num_blocks())), kNoBlock);
  // A secret key: request tokens cannot be chosen to fall into one chain.
  std::random_device device;
  hash_key_ = uint64_t{device()} << 32 | device();
}

RootId PrefixTree::open_root(std::string_view key) {
  // Memory first, so that a failure leaves everything as it was and drop_root_use() needs none.
  if (free_roots_.empty()) {
    roots_.reserve(roots_.size() + 1);
    free_roots_.reserve(roots_.capacity());
    free_roots_.push_back(static_cast<RootId>(roots_.size()));
    roots_.emplace_back();
  }
  auto [entry, added] = root_ids_.try_emplace(std::string(key), free_roots_.back());
  if (added) {
    roots_[entry->second] = {&entry->first, 0};
    free_roots_.pop_back();
  }
  ++roots_[entry->second].uses;
  return entry->second;
}

void PrefixTree::close_root(RootId root) {
  drop_root_use(root);
}

void PrefixTree::drop_root_use(RootId root) {
  MI_CHECK(roots_[root].uses > 0);
  if (--roots_[root].uses > 0) return;
  root_ids_.erase(root_ids_.find(*roots_[root].key));
  free_roots_.push_back(root);
}

uint32_t PrefixTree::hash_of(RootId root, BlockId parent, std::span<const int32_t> tokens) const {
  const auto mix = [](uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  // The root counts only at the first level: a block has one root for as long as it is a node.
  uint64_t hash = mix(hash_key_ ^ static_cast<uint32_t>(parent == kNoBlock ? ~root : parent),
                      0x9E3779B97F4A7C15);
  for (const int32_t token : tokens) hash = mix(hash ^ static_cast<uint32_t>(token), hash_key_ | 1);
  return static_cast<uint32_t>(hash ^ hash >> 32);
}

bool PrefixTree::matches(BlockId node, RootId root, BlockId parent,
                         std::span<const int32_t> tokens) const {
  return nodes_[node].root == root && nodes_[node].parent == parent &&
         std::memcmp(&tokens_[int64_t{node} * block_size_], tokens.data(), tokens.size_bytes()) ==
             0;
}

BlockId PrefixTree::find(RootId root, BlockId parent, std::span<const int32_t> tokens) const {
  MI_CHECK(static_cast<int>(tokens.size()) == block_size_);
  const uint32_t hash = hash_of(root, parent, tokens);
  BlockId node = buckets_[hash & (buckets_.size() - 1)];
  while (node != kNoBlock && !(nodes_[node].hash == hash && matches(node, root, parent, tokens)))
    node = nodes_[node].next_in_bucket;
  return node;
}

BlockId PrefixTree::insert(RootId root, BlockId parent, std::span<const int32_t> tokens,
                           BlockId block) {
  MI_CHECK(!contains(block), "block {} is a node already", block);
  MI_CHECK(parent == kNoBlock || (contains(parent) && pool_.holders(parent) > 1));
  if (const BlockId twin = find(root, parent, tokens); twin != kNoBlock) {
    retain(twin);
    release(block);
    return twin;
  }
  const uint32_t hash = hash_of(root, parent, tokens);
  BlockId& bucket = buckets_[hash & (buckets_.size() - 1)];
  nodes_[block] = {.root = root, .parent = parent, .next_in_bucket = bucket, .hash = hash};
  bucket = block;
  std::copy(tokens.begin(), tokens.end(), &tokens_[int64_t{block} * block_size_]);
  if (parent == kNoBlock) {
    ++roots_[root].uses;
  } else {
    ++nodes_[parent].num_children;
  }
  pool_.retain(block);
  ++num_nodes_;
  return block;
}

void PrefixTree::retain(BlockId block) {
  if (evictable(block)) unlink(block);
  pool_.retain(block);
}

void PrefixTree::release(BlockId block) {
  pool_.release(block);
  if (evictable(block)) link_newest(block);
}

BlockId PrefixTree::allocate() {
  if (pool_.num_free() == 0 && oldest_ != kNoBlock) evict_oldest();
  return pool_.allocate();
}

void PrefixTree::link_newest(BlockId block) {
  nodes_[block].older = newest_;
  nodes_[block].newer = kNoBlock;
  (newest_ == kNoBlock ? oldest_ : nodes_[newest_].newer) = block;
  newest_ = block;
  ++num_evictable_;
}

void PrefixTree::unlink(BlockId block) {
  const Node& node = nodes_[block];
  (node.older == kNoBlock ? oldest_ : nodes_[node.older].newer) = node.newer;
  (node.newer == kNoBlock ? newest_ : nodes_[node.newer].older) = node.older;
  --num_evictable_;
}

void PrefixTree::evict_oldest() {
  const BlockId block = oldest_;
  Node& node = nodes_[block];
  MI_CHECK(node.num_children == 0, "block {} has children and is the oldest", block);
  unlink(block);
  BlockId* link = &buckets_[node.hash & (buckets_.size() - 1)];
  while (*link != block) link = &nodes_[*link].next_in_bucket;
  *link = node.next_in_bucket;
  if (node.parent == kNoBlock) {
    drop_root_use(node.root);
  } else {
    --nodes_[node.parent].num_children;
  }
  node.root = -1;
  --num_nodes_;
  pool_.release(block);
}

}  // namespace miniinfer

#include "kvcache/prefix_tree.h"

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

constexpr int kBlock = 4;

// Holds a path of the tree as a sequence does.
struct Path {
  RootId root;
  std::vector<int32_t> tokens;
  std::vector<BlockId> blocks;
};

Path take(PrefixTree& tree, std::string_view key, std::vector<int32_t> tokens,
          int* hits = nullptr) {
  Path path{tree.open_root(key), std::move(tokens), {}};
  BlockId parent = kNoBlock;
  int found = 0;
  for (size_t i = 0; i + kBlock <= path.tokens.size(); i += kBlock) {
    const std::span<const int32_t> chunk(&path.tokens[i], kBlock);
    BlockId block = tree.find(path.root, parent, chunk);
    if (block != kNoBlock) {
      ++found;
      tree.retain(block);
    } else {
      block = tree.allocate();
      if (block == kNoBlock) break;
      block = tree.insert(path.root, parent, chunk, block);
    }
    path.blocks.push_back(block);
    parent = block;
  }
  if (hits) *hits = found;
  return path;
}

void drop(PrefixTree& tree, Path& path) {
  for (auto block = path.blocks.rbegin(); block != path.blocks.rend(); ++block)
    tree.release(*block);
  path.blocks.clear();
  tree.close_root(path.root);
}

TEST(BlockPool, CountsHoldersAndReusesBlocks) {
  BlockPool pool(3);
  const BlockId a = pool.allocate(), b = pool.allocate(), c = pool.allocate();
  EXPECT_EQ(pool.allocate(), kNoBlock);
  EXPECT_EQ(a + b + c, 0 + 1 + 2);
  pool.retain(b);
  EXPECT_EQ(pool.num_holds(), 4);
  EXPECT_EQ(pool.release(b), 1);
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_EQ(pool.release(b), 0);
  EXPECT_EQ(pool.num_free(), 1);
  EXPECT_EQ(pool.allocate(), b);
}

TEST(PrefixTree, SharesEqualPrefixesOnlyBelowTheSameRoot) {
  BlockPool pool(16);
  PrefixTree tree(pool, kBlock);
  int hits = 0;
  Path first = take(tree, "", {1, 2, 3, 4, 5, 6, 7, 8, 9}, &hits);
  EXPECT_EQ(hits, 0);
  Path same = take(tree, "", {1, 2, 3, 4, 5, 6, 7, 8}, &hits);
  EXPECT_EQ(hits, 2);
  EXPECT_EQ(same.blocks, first.blocks);
  Path forked = take(tree, "", {1, 2, 3, 4, 5, 6, 7, 0}, &hits);
  EXPECT_EQ(hits, 1);
  Path salted = take(tree, "tenant", {1, 2, 3, 4, 5, 6, 7, 8}, &hits);
  EXPECT_EQ(hits, 0);
  // The second block's tokens below another parent are another prefix.
  Path moved = take(tree, "", {5, 6, 7, 8}, &hits);
  EXPECT_EQ(hits, 0);
  EXPECT_EQ(pool.holders(first.blocks[0]), 4);  // three paths and the tree
  for (Path* path : {&first, &same, &forked, &salted, &moved}) drop(tree, *path);
  EXPECT_EQ(tree.num_evictable(), tree.num_nodes());
  EXPECT_EQ(tree.num_available(), 16);
}

TEST(PrefixTree, ATwinComputedMeanwhileReplacesTheCallersBlock) {
  BlockPool pool(4);
  PrefixTree tree(pool, kBlock);
  const RootId root = tree.open_root("");
  const std::vector<int32_t> tokens = {7, 7, 7, 7};
  const BlockId a = tree.allocate(), b = tree.allocate();
  EXPECT_EQ(tree.insert(root, kNoBlock, tokens, a), a);
  EXPECT_EQ(tree.insert(root, kNoBlock, tokens, b), a);
  EXPECT_EQ(pool.holders(a), 3);
  EXPECT_EQ(pool.holders(b), 0);
}

TEST(PrefixTree, EvictsTheLeastRecentlyReleasedLeafFirst) {
  BlockPool pool(4);
  PrefixTree tree(pool, kBlock);
  Path a = take(tree, "", {1, 1, 1, 1, 2, 2, 2, 2});
  Path b = take(tree, "", {3, 3, 3, 3, 4, 4, 4, 4});
  const std::vector<BlockId> of_a = a.blocks, of_b = b.blocks;
  drop(tree, a);
  drop(tree, b);
  EXPECT_EQ(tree.allocate(), of_a[1]);
  int hits = 0;
  Path again = take(tree, "", {1, 1, 1, 1}, &hits);  // now the most recent
  EXPECT_EQ(hits, 1);
  drop(tree, again);
  EXPECT_EQ(tree.allocate(), of_b[1]);
  EXPECT_EQ(tree.allocate(), of_b[0]);
  EXPECT_EQ(tree.allocate(), of_a[0]);
  EXPECT_EQ(tree.allocate(), kNoBlock);
  EXPECT_EQ(tree.num_roots(), 0);
}

TEST(PrefixTree, RootsVanishWithTheirLastUse) {
  BlockPool pool(2);
  PrefixTree tree(pool, kBlock);
  for (int salt = 0; salt < 1000; ++salt) {
    Path path = take(tree, std::to_string(salt), {1, 2, 3, 4});
    drop(tree, path);
  }
  EXPECT_LE(tree.num_roots(), 2);
}

// Against a map from prefixes: a hit names the block that was inserted for exactly that prefix.
TEST(PrefixTree, RandomUseAgreesWithAMapOfPrefixes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  BlockPool pool(24);
  PrefixTree tree(pool, kBlock);
  std::map<std::pair<std::string, std::vector<int32_t>>, BlockId> truth;
  std::vector<std::pair<std::string, Path>> held;
  for (int step = 0; step < 20000; ++step) {
    if (held.size() > 4 || (!held.empty() && random() % 3 == 0)) {
      const size_t victim = random() % held.size();
      drop(tree, held[victim].second);
      held.erase(held.begin() + victim);
    } else {
      const std::string key = std::to_string(random() % 2);
      std::vector<int32_t> tokens(random() % 5 * kBlock);
      for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = i % kBlock == 0 ? random() % 2 : 0;
      Path path = take(tree, key, tokens);
      std::vector<int32_t> prefix;
      for (size_t i = 0; i < path.blocks.size(); ++i) {
        prefix.insert(prefix.end(), &tokens[i * kBlock], &tokens[i * kBlock] + kBlock);
        for (auto entry = truth.begin(); entry != truth.end();)  // the block's older life is over
          entry = entry->second == path.blocks[i] && entry->first != std::pair(key, prefix)
                      ? truth.erase(entry)
                      : std::next(entry);
        truth[{key, prefix}] = path.blocks[i];
      }
      held.emplace_back(key, std::move(path));
    }
    for (const auto& [key, path] : held) {
      std::vector<int32_t> prefix;
      for (size_t i = 0; i < path.blocks.size(); ++i) {
        prefix.insert(prefix.end(), &path.tokens[i * kBlock], &path.tokens[i * kBlock] + kBlock);
        ASSERT_EQ((truth[{key, prefix}]), path.blocks[i]);
      }
    }
    int64_t in_use = 0;
    for (BlockId block = 0; block < pool.num_blocks(); ++block)
      in_use += pool.holders(block) > 0 && !tree.evictable(block);
    ASSERT_EQ(pool.num_free() + tree.num_evictable() + in_use, pool.num_blocks());
  }
}

}  // namespace
}  // namespace miniinfer

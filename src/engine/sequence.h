#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <vector>

#include "engine/request.h"
#include "kvcache/block_pool.h"
#include "kvcache/prefix_tree.h"

namespace miniinfer {

struct Request;
struct Sequence;
struct SamplingState;

// The order in which sequences are served; the last is preempted first.
struct RunsBefore {
  bool operator()(const Sequence* a, const Sequence* b) const;
};
using SequenceQueue = std::set<Sequence*, RunsBefore>;

enum class SequenceState : uint8_t {
  kHeld,      // waits for continuation 0 to compute the shared prompt
  kWaiting,   // wants admission; holds no block
  kRunning,   // holds blocks; part of every step that has room
  kFinished,  // holds nothing
};

// Stands for a token that lies on the device and is not known here yet.
inline constexpr int32_t kPendingToken = -1;

// One sampled continuation of a request: its tokens, its blocks and how far it has been computed.
struct Sequence {
  Sequence();
  Sequence(Sequence&&) noexcept;
  ~Sequence();

  Request* request = nullptr;
  int index = 0;
  SequenceState state = SequenceState::kHeld;
  std::vector<int32_t> tokens;  // prompt, then output
  int64_t num_prompt_tokens = 0;
  int64_t max_total_tokens = 0;  // prompt + max_tokens
  int64_t num_computed = 0;      // leading tokens whose keys and values are in the cache
  int64_t num_prompt_rows =
      0;  // prompt positions whose logits were delivered, with prompt_logprobs
  int64_t num_cached_prompt_tokens = 0;  // taken from the prefix tree at the first admission
  std::vector<BlockId> blocks;  // block i holds tokens [i * block_size, (i + 1) * block_size)
  int64_t num_tree_blocks = 0;  // leading blocks that are nodes of the prefix tree
  int preemptions = 0;
  bool guaranteed =
      false;  // blocks for its longest possible length are promised: never preempted again
  int32_t places[2] = {-1, -1};  // its items in the scheduler's two plans; -1: in none
  bool waits_for_mask = false;   // left out of steps: what may follow is not known yet
  std::unique_ptr<SamplingState> sampling;
  SequenceQueue::node_type queue_node;  // its place in the queue while it is not there

  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }
  int64_t num_output_tokens() const { return num_tokens() - num_prompt_tokens; }
  int64_t num_remaining() const { return num_tokens() - num_computed; }
  bool in_step() const { return places[0] >= 0 || places[1] >= 0; }
  // The last token is being drawn in a step in flight.
  bool token_is_pending() const { return tokens.back() == kPendingToken; }
};

// A request inside the engine: what its sequences share. Neither moves while the scheduler knows
// it.
struct Request {
  // Copies the prompt into `n` sequences, each with room for all its tokens, so that a step never
  // grows them.
  Request(RequestId id, EngineRequest input, EventSink sink, int block_size);

  RequestId id = 0;
  EngineRequest input;  // its prompt has moved into the sequences
  EventSink sink;
  std::vector<int32_t> end_token_ids;  // stop_token_ids, and eos unless ignored; sorted
  std::vector<Sequence> sequences;

  // Prefix sharing: who may share, and up to which token (a length-dependent RoPE shares less).
  std::string root_key;
  int64_t cacheable_tokens = std::numeric_limits<int64_t>::max();

  // The scheduler's.
  RootId root = -1;
  double order = 0;                             // lower runs first
  bool started = false;                         // a sequence was admitted once
  std::optional<Clock::time_point> started_at;  // the engine's: begin of its first step
  bool forked = false;                          // the held sequences have been queued
  int unfinished = 0;

  bool ends_at(int32_t token_id) const;
};

}  // namespace miniinfer

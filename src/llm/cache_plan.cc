#include "llm/cache_plan.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "engine/device_plan.h"
#include "engine/scheduler.h"
#include "llm/reject.h"

namespace miniinfer {
namespace {

// A prompt of a few paragraphs and its answer.
constexpr int64_t kUsualTokens = 512;
// No step is advised that is smaller.
constexpr int64_t kSmallestStep = 64;
// Nor a share of a GPU above: its driver and the display take some.
constexpr double kLargestShare = 0.99;

size_t mib(size_t bytes) {
  return bytes >> 20;
}

class CachePlanner {
 public:
  CachePlanner(const ModelOutline& outline, const LLMOptions& options, int64_t longest,
               const Machine& machine, EnginePlan& plan)
      : outline_(outline), options_(options), longest_(longest), machine_(machine), plan_(plan) {
    plan_.engine.max_model_len = longest;
    plan_.engine.num_blocks = blocks_for(longest) * plan_.engine.max_num_seqs;
    plan_.memory = memory_of(plan_.engine);
    block_bytes_ = plan_.memory.kv_bytes_per_block;
    limit_ = machine_.available_bytes;
    if (machine.gpu)
      limit_ = static_cast<size_t>(static_cast<double>(machine.gpu_memory.total) *
                                   options.gpu_memory_utilization);
  }

  void run() {
    const int64_t blocks = options_.kv_cache_memory_bytes > 0 ? given_blocks() : blocks_that_fit();
    EngineConfig& engine = plan_.engine;
    const int64_t reach = blocks * engine.block_size;
    if (options_.max_model_len > reach) reject_length(blocks, reach);
    engine.num_blocks = blocks;
    engine.max_model_len = std::min(longest_, reach);
    plan_.memory = memory_of(engine);
    plan_.memory.num_blocks = blocks;
  }

 private:
  int64_t blocks_for(int64_t tokens) const {
    return (tokens + plan_.engine.block_size - 1) / plan_.engine.block_size;
  }

  // Without blocks.
  MemoryPlan memory_of(const EngineConfig& engine) const {
    MemoryPlan memory = plan_memory(outline_, {.max_tokens = engine.max_num_batched_tokens,
                                               .max_sequences = engine.max_num_seqs,
                                               .max_logit_rows = Scheduler::max_logit_rows(engine),
                                               .block_size = engine.block_size,
                                               .num_threads = plan_.num_threads});
    if (!machine_.gpu) {
      memory.others.push_back({"program", machine_.program_bytes});
      return memory;
    }
    const cuda::MemoryInfo& gpu = machine_.gpu_memory;
    memory.others.push_back({"context", gpu.total - std::min(gpu.free, gpu.total)});
    plan_device_memory(*outline_.model, engine, *machine_.gpu, memory);
    return memory;
  }

  size_t fixed() const { return plan_.memory.total_bytes(); }

  int64_t given_blocks() const {
    const auto bytes = static_cast<size_t>(options_.kv_cache_memory_bytes);
    if (bytes < block_bytes_)
      reject("kv_cache_memory_bytes", fmt::format("a block of {} tokens alone takes {} bytes",
                                                  plan_.engine.block_size, block_bytes_));
    // A GPU is used to its end when the cache's size is given: the share is for when it is not.
    const size_t memory = machine_.gpu ? machine_.gpu_memory.total : machine_.available_bytes;
    if (fixed() + block_bytes_ > memory) refuse(block_bytes_, memory);
    if (bytes > memory - fixed())
      reject("kv_cache_memory_bytes",
             fmt::format("{} MiB do not fit into {} MiB beside {} MiB that {}; at most {} would",
                         mib(bytes), mib(memory), mib(fixed()), what_is_fixed(), memory - fixed()));
    return static_cast<int64_t>(bytes / block_bytes_);
  }

  int64_t blocks_that_fit() const {
    const int64_t one = blocks_for(longest_);
    if (fixed() + block_bytes_ > limit_)
      refuse(static_cast<size_t>(options_.max_model_len > 0 ? one : 1) * block_bytes_, limit_);
    const auto affordable = static_cast<int64_t>((limit_ - fixed()) / block_bytes_);
    const int64_t sequences = plan_.engine.max_num_seqs;
    if (machine_.gpu) return std::min(affordable, sequences * one);
    const int64_t many = sequences * blocks_for(std::min(longest_, kUsualTokens));
    return std::min(std::max(one, many), std::max<int64_t>(affordable / 2, 1));
  }

  std::string what_is_fixed() const {
    return machine_.gpu ? "weights, activations and what is in use already take"
                        : "weights, activations and the program take";
  }

  [[noreturn]] void refuse(size_t cache, size_t memory) const {
    fail(ErrorCode::kResourceExhausted, "memory: {} {} MiB, and {} MiB are {}; {}", what_is_fixed(),
         mib(fixed()), mib(memory),
         machine_.gpu && options_.kv_cache_memory_bytes == 0
             ? fmt::format("{} of the GPU's (--gpu-memory-utilization)",
                           options_.gpu_memory_utilization)
             : "there",
         what_would_fit(cache, memory));
  }

  // The first that helps of a larger share of the GPU, smaller steps, fewer sequences.
  std::string what_would_fit(size_t cache, size_t memory) const {
    if (machine_.gpu && options_.kv_cache_memory_bytes == 0) {
      const std::string share = share_for(fixed() + cache);
      if (!share.empty()) return share + " would fit";
    }
    EngineConfig engine = plan_.engine;
    const auto fits = [&] { return memory_of(engine).total_bytes() + cache <= memory; };
    while (engine.max_num_batched_tokens > kSmallestStep) {
      engine.max_num_batched_tokens = std::max(engine.max_num_batched_tokens / 2, kSmallestStep);
      if (fits())
        return fmt::format("--max-num-batched-tokens {} would fit", engine.max_num_batched_tokens);
    }
    while (engine.max_num_seqs > 1) {
      engine.max_num_seqs /= 2;
      if (fits())
        return fmt::format("--max-num-seqs {} with --max-num-batched-tokens {} would fit",
                           engine.max_num_seqs, engine.max_num_batched_tokens);
    }
    return fmt::format("it takes {} MiB at least",
                       mib(memory_of(engine).total_bytes() + cache) + 1);
  }

  // Empty when no share is enough.
  std::string share_for(size_t bytes) const {
    const double share = std::ceil(100.0 * static_cast<double>(bytes) /
                                   static_cast<double>(machine_.gpu_memory.total)) /
                         100.0;
    return share <= kLargestShare ? fmt::format("--gpu-memory-utilization {:.2f}", share) : "";
  }

  [[noreturn]] void reject_length(int64_t blocks, int64_t reach) const {
    const size_t wanted = static_cast<size_t>(blocks_for(longest_)) * block_bytes_;
    std::string advice = fmt::format("--max-model-len {}", reach);
    if (options_.kv_cache_memory_bytes > 0)
      advice += fmt::format(" or --kv-cache-memory-bytes {}", wanted);
    else if (const std::string share = machine_.gpu ? share_for(fixed() + wanted) : "";
             !share.empty())
      advice += " or " + share;
    reject(
        "max_model_len",
        fmt::format("{} tokens take {} MiB of KV cache, and {} MiB hold {}; {} would fit", longest_,
                    mib(wanted), mib(static_cast<size_t>(blocks) * block_bytes_), reach, advice));
  }

  const ModelOutline& outline_;
  const LLMOptions& options_;
  const int64_t longest_;
  const Machine& machine_;
  EnginePlan& plan_;
  size_t block_bytes_ = 0;
  size_t limit_ = 0;  // of everything together, when the cache's size is not given
};

}  // namespace

void plan_cache(const ModelOutline& outline, const LLMOptions& options, int64_t longest,
                const Machine& machine, EnginePlan& plan) {
  CachePlanner(outline, options, longest, machine, plan).run();
}

}  // namespace miniinfer

#pragma once

#include <functional>
#include <memory>
#include <span>

#include "engine/request.h"
#include "llm/worker_pool.h"
#include "text/grammar.h"

namespace miniinfer {

// One sequence's way through a grammar: each token is taken, and the next mask computed, on the
// pool.
class GrammarMask : public TokenMask {
 public:
  GrammarMask(std::shared_ptr<WorkerPool> pool, std::shared_ptr<const Grammar> grammar,
              int64_t vocab_size);
  ~GrammarMask() override;  // does not wait for what is being computed

  void set_wake(std::function<void()> wake) override;
  State state() noexcept override;
  void fill(std::span<uint32_t> allowed) override;
  bool accept(int32_t token_id) override;

 private:
  struct Shared;
  void post(int32_t token_id);

  std::shared_ptr<WorkerPool> pool_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace miniinfer

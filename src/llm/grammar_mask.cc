#include "llm/grammar_mask.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace miniinfer {
namespace {

constexpr int32_t kNoToken = -1;

// What is being caught, as an Error. Never throws.
Error current_error() noexcept {
  try {
    try {
      throw;
    } catch (const Error& error) {
      return error;
    } catch (const std::bad_alloc&) {
      return out_of_memory();
    } catch (const std::exception& error) {
      return {ErrorCode::kInternal, error.what()};
    }
  } catch (...) {  // there was no memory for the message
    return out_of_memory();
  }
}

}  // namespace

// A job's while the state is kPending, the engine's otherwise.
struct GrammarMask::Shared {
  Shared(std::shared_ptr<const Grammar> of, int64_t vocab_size)
      : grammar(std::move(of)),
        matcher(*grammar),
        bits(static_cast<size_t>((vocab_size + 31) / 32)) {}

  void advance(int32_t token_id) {
    try {
      if (token_id != kNoToken && !matcher.accept(token_id)) return publish(State::kComplete);
      matcher.fill(bits);
    } catch (...) {
      error = current_error();
    }
    publish(State::kReady);
  }

  void publish(State next) {
    state.store(next, std::memory_order_release);
    std::lock_guard lock(mutex);
    if (wake) wake();
  }

  const std::shared_ptr<const Grammar> grammar;
  GrammarMatcher matcher;
  std::vector<uint32_t> bits;
  std::optional<Error> error;
  std::atomic<State> state = State::kPending;
  std::mutex mutex;            // held while wake is called, so that it ends with the mask
  std::function<void()> wake;  // empty once nobody is interested
};

GrammarMask::GrammarMask(std::shared_ptr<WorkerPool> pool, std::shared_ptr<const Grammar> grammar,
                         int64_t vocab_size)
    : pool_(std::move(pool)), shared_(std::make_shared<Shared>(std::move(grammar), vocab_size)) {}

GrammarMask::~GrammarMask() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->wake = nullptr;
  }
  // No job holds the matcher then.
  if (state() == State::kPending || shared_->error) return;
  try {
    pool_->post([shared = shared_] {
      try {
        shared->matcher.teach(*shared->grammar);
      } catch (const std::bad_alloc&) {  // the next sequence learns by itself
      }
    });
  } catch (const std::bad_alloc&) {
  }
}

void GrammarMask::set_wake(std::function<void()> wake) {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->wake = std::move(wake);
  }
  post(kNoToken);
}

TokenMask::State GrammarMask::state() noexcept {
  return shared_->state.load(std::memory_order_acquire);
}

void GrammarMask::fill(std::span<uint32_t> allowed) {
  if (shared_->error) throw *shared_->error;
  std::copy_n(shared_->bits.begin(), std::min(allowed.size(), shared_->bits.size()),
              allowed.begin());
}

bool GrammarMask::accept(int32_t token_id) {
  shared_->state.store(State::kPending, std::memory_order_release);
  try {
    post(token_id);
  } catch (const std::bad_alloc&) {
    shared_->state.store(State::kReady, std::memory_order_release);
    throw out_of_memory();
  }
  return true;
}

void GrammarMask::post(int32_t token_id) {
  pool_->post([shared = shared_, token_id] {
    bool wanted = false;
    {
      std::lock_guard lock(shared->mutex);
      wanted = shared->wake != nullptr;
    }
    if (wanted) shared->advance(token_id);
  });
}

}  // namespace miniinfer

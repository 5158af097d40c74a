#include "engine/engine.h"

#include <algorithm>

#include "engine/engine_impl.h"

namespace miniinfer {

Engine::Engine(std::shared_ptr<const Model> model, const EngineConfig& config, ExecContext context)
    : impl_(std::make_unique<Impl>(std::move(model), config, std::move(context))) {}
Engine::~Engine() = default;

RequestId Engine::submit(EngineRequest request, EventSink sink) {
  return impl_->submit(std::move(request), std::move(sink));
}
void Engine::cancel(RequestId id) {
  impl_->cancel(id, -1);
}
void Engine::cancel(RequestId id, int index) {
  if (index >= 0) impl_->cancel(id, index);
}
EngineStats Engine::stats() const {
  return impl_->stats();
}
void Engine::drain(Clock::time_point deadline) {
  impl_->drain(deadline);
}
const Model& Engine::model() const {
  return impl_->model();
}
const EngineConfig& Engine::config() const {
  return impl_->config();
}

}  // namespace miniinfer

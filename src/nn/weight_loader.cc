#include "nn/weight_loader.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/thread_pool.h"
#include "tensor/numeric.h"

namespace miniinfer {
namespace {

void convert(const ConstTensorView& from, TensorView to) {
  // Loading runs before there is an engine with threads; a team costs 50 us, a converted model
  // seconds.
  constexpr int64_t kGrain = 1 << 16;
  ThreadPool pool(from.num_elements() > kGrain ? available_cpus() : 1);
  dispatch_float(from.dtype(), [&](auto source) {
    dispatch_float(to.dtype(), [&](auto target) {
      using Source = decltype(source);
      using Target = decltype(target);
      pool.parallel_for(from.num_elements(), kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          to.data<Target>()[i] = from_float<Target>(to_float(from.data<Source>()[i]));
      });
    });
  });
}

}  // namespace

WeightLoader::WeightLoader(std::shared_ptr<const WeightStore> store, DType activation_dtype,
                           Device device)
    : store_(std::move(store)), activation_dtype_(activation_dtype), device_(device) {}
WeightLoader::~WeightLoader() = default;
WeightLoader::WeightLoader(WeightLoader&&) noexcept = default;

ConstTensorView WeightLoader::get(const std::string& name, const Shape& shape) {
  const ConstTensorView view = device_.type == DeviceType::kCpu ? store_->get(name, shape)
                                                                : store_->get_unfilled(name, shape);
  const DType dtype = view.dtype();
  require(dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16,
          ErrorCode::kUnsupported,
          "{}: {}: dtype {} is not supported; known: float32, float16, bfloat16", store_->where(),
          name, dtype_name(dtype));
  used_.insert(name);
  return view;
}

ConstTensorView WeightLoader::matrix(const std::string& name, int64_t rows, int64_t columns) {
  const ConstTensorView stored = get(name, {rows, columns});
  if (!needs_conversion(stored.dtype(), activation_dtype_, device_) || !store_->readable())
    return stored;
  converted_.push_back(std::make_unique<Tensor>(stored.shape(), activation_dtype_));
  store_->fill(stored);
  convert(stored, *converted_.back());
  store_->release(stored);
  return converted_.back()->view();
}

ConstTensorView WeightLoader::table(const std::string& name, int64_t rows, int64_t columns) {
  return get(name, {rows, columns});
}

ConstTensorView WeightLoader::vector(const std::string& name, int64_t size) {
  return get(name, {size});
}

ConstTensorView WeightLoader::pad(const ConstTensorView& weight, const Shape& shape, int64_t outer,
                                  int64_t from, int64_t to) {
  if (!store_->readable()) return {weight.raw(), shape, weight.dtype()};
  MI_CHECK(shape.num_elements() / to == weight.num_elements() / from);
  store_->fill(weight);
  converted_.push_back(std::make_unique<Tensor>(shape, weight.dtype()));
  const size_t inner = weight.num_bytes() / static_cast<size_t>(outer * from);
  const size_t row = inner * static_cast<size_t>(from),
               padded_row = inner * static_cast<size_t>(to);
  uint8_t* out = converted_.back()->data<uint8_t>();
  for (int64_t i = 0; i < outer; ++i, out += padded_row) {
    std::memcpy(out, weight.data<uint8_t>() + static_cast<size_t>(i) * row, row);
    std::memset(out + row, 0, padded_row - row);
  }
  store_->release(weight);
  return converted_.back()->view();
}

void WeightLoader::prefetch() const {
  if (converted_.empty()) store_->prefetch();
}

void WeightLoader::require_intact() const {
  if (store_->damaged())
    fail(ErrorCode::kDataCorrupt, "{}: truncated or failed while it was in use", store_->where());
}

std::string WeightLoader::where() const {
  return store_->where();
}

std::vector<std::string> WeightLoader::unused() const {
  std::vector<std::string> names = store_->names();
  std::erase_if(names, [&](const std::string& name) { return used_.contains(name); });
  return names;
}

}  // namespace miniinfer

#include "miniinfer/tensor.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>

#include "base/check.h"
#include "tensor/cuda/device.h"
#include "tensor/fail_allocation.h"

namespace miniinfer {
namespace {

struct DTypeInfo {
  std::string_view name;
  std::string_view safetensors;
  size_t size;
  double roundoff;
};

constexpr DTypeInfo kDTypes[] = {
    {"float32", "F32", 4, 0x1p-24},
    {"float16", "F16", 2, 0x1p-11},
    {"bfloat16", "BF16", 2, 0x1p-8},
    {"float64", "F64", 8, 0x1p-53},
    {"float8_e4m3", "F8_E4M3", 1, 0x1p-4},
    {"float8_e5m2", "F8_E5M2", 1, 0x1p-3},
    {"int8", "I8", 1, 0},
    {"uint8", "U8", 1, 0},
    {"int16", "I16", 2, 0},
    {"uint16", "U16", 2, 0},
    {"int32", "I32", 4, 0},
    {"uint32", "U32", 4, 0},
    {"int64", "I64", 8, 0},
    {"uint64", "U64", 8, 0},
    {"bool", "BOOL", 1, 0},
};

const DTypeInfo& info(DType dtype) {
  return kDTypes[static_cast<size_t>(dtype)];
}

Shape row_major_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

}  // namespace

size_t dtype_size(DType dtype) {
  return info(dtype).size;
}
std::string_view dtype_name(DType dtype) {
  return info(dtype).name;
}
double dtype_roundoff(DType dtype) {
  return info(dtype).roundoff;
}

std::optional<DType> dtype_from_safetensors(std::string_view tag) {
  for (size_t i = 0; i < std::size(kDTypes); ++i)
    if (kDTypes[i].safetensors == tag) return static_cast<DType>(i);
  return std::nullopt;
}

Shape::Shape(std::initializer_list<int64_t> dims)
    : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  MI_CHECK(dims.size() <= kMaxRank, "rank {}", dims.size());
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

int64_t Shape::num_elements() const {
  int64_t count = 1;
  for (int64_t dim : dims()) count *= dim;
  return count;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(dims(), other.dims());
}
std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(dims(), ", "));
}

ConstTensorView::ConstTensorView(const void* data, Shape shape, DType dtype, Device device)
    : ConstTensorView(data, shape, row_major_strides(shape), dtype, device) {}

ConstTensorView::ConstTensorView(const void* data, Shape shape, Shape strides, DType dtype,
                                 Device device)
    : data_(const_cast<void*>(data)),
      shape_(shape),
      strides_(strides),
      dtype_(dtype),
      device_(device) {
  MI_CHECK(shape.rank() == strides.rank());
}

bool ConstTensorView::is_contiguous() const {
  int64_t stride = 1;
  for (int axis = rank() - 1; axis >= 0; --axis) {
    if (shape_[axis] != 1 && strides_[axis] != stride) return false;
    stride *= shape_[axis];
  }
  return true;
}

ConstTensorView ConstTensorView::rows(int64_t begin, int64_t end) const {
  MI_CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0], "rows {}..{} of {}",
           begin, end, to_string());
  ConstTensorView view = *this;
  view.data_ =
      static_cast<char*>(data_) + begin * strides_[0] * static_cast<int64_t>(dtype_size(dtype_));
  view.shape_[0] = end - begin;
  return view;
}

std::string ConstTensorView::to_string() const {
  return fmt::format("{} {}", dtype_name(dtype_), shape_.to_string());
}

TensorView TensorView::rows(int64_t begin, int64_t end) const {
  const ConstTensorView part = ConstTensorView::rows(begin, end);
  return TensorView(const_cast<void*>(part.raw()), part.shape(), strides_, dtype_, device_);
}

TensorView TensorView::reshape(Shape shape) const {
  MI_CHECK(is_contiguous() && shape.num_elements() == num_elements(), "{} to {}", to_string(),
           shape.to_string());
  return TensorView(data_, shape, dtype_, device_);
}

namespace {

// Rows of activations lie some KiB apart, so in pages of 4 KiB each has one of its own, and every
// walk of the page tables shows: a bfloat16 product of 2048 x 2048 x 2048 is 7 % faster in pages of
// 2 MiB. From kHugeFrom on the kernel is asked for those.
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kHugeFrom = 4 * kHugePage;

class HostMemory final : public MemoryResource {
 public:
  void* allocate(size_t bytes) override {
    const size_t alignment = bytes >= kHugeFrom ? kHugePage : this->alignment();
    void* pointer =
        allocation_must_fail()
            ? nullptr
            : std::aligned_alloc(
                  alignment, std::max(alignment, (bytes + alignment - 1) / alignment * alignment));
    require(pointer != nullptr, ErrorCode::kResourceExhausted, "memory: cannot allocate {} bytes",
            bytes);
#if defined(MADV_HUGEPAGE)
    if (bytes >= kHugeFrom) madvise(pointer, bytes, MADV_HUGEPAGE);  // or small pages will do
#endif
    return pointer;
  }
  void deallocate(void* pointer) noexcept override { std::free(pointer); }
  Device device() const override { return {}; }
  size_t alignment() const override { return 64; }
};

}  // namespace

MemoryResource& memory_of(Device device) {
  static HostMemory host;
  return device.type == DeviceType::kCpu ? host : cuda::device_memory(device.index);
}

Tensor::Tensor(Shape shape, DType dtype, Device device) {
  const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_size(dtype);
  MemoryResource& memory = memory_of(device);
  storage_ = {memory.allocate(bytes), Free{&memory}};
  view_ = TensorView(storage_.get(), shape, dtype, device);
}

}  // namespace miniinfer

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
  double roundoff;
};

constexpr DTypeInfo kDTypes[] = {
    {"float32", "F32", 0x1p-24},
    {"float16", "F16", 0x1p-11},
    {"bfloat16", "BF16", 0x1p-8},
    {"float64", "F64", 0x1p-53},
    {"float8_e4m3", "F8_E4M3", 0x1p-4},
    {"float8_e5m2", "F8_E5M2", 0x1p-3},
    {"int8", "I8", 0},
    {"uint8", "U8", 0},
    {"int16", "I16", 0},
    {"uint16", "U16", 0},
    {"int32", "I32", 0},
    {"uint32", "U32", 0},
    {"int64", "I64", 0},
    {"uint64", "U64", 0},
    {"bool", "BOOL", 0},
};

const DTypeInfo& info(DType dtype) {
  return kDTypes[static_cast<size_t>(dtype)];
}

}  // namespace

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

void Shape::abort_for_rank(size_t rank) {
  check_failed(__FILE__, __LINE__, "rank <= kMaxRank", fmt::format("rank {}", rank));
}

int64_t Shape::num_elements() const {
  int64_t count = 1;
  for (int64_t dim : dims()) count *= dim;
  return count;
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(dims(), ", "));
}

void ConstTensorView::abort_for_strides() {
  check_failed(__FILE__, __LINE__, "shape.rank() == strides.rank()", "");
}

void ConstTensorView::abort_for_rows(int64_t begin, int64_t end) const {
  check_failed(__FILE__, __LINE__, "0 <= begin && begin <= end && end <= dim(0)",
               fmt::format("rows {}..{} of {}", begin, end, to_string()));
}

bool ConstTensorView::is_contiguous() const {
  int64_t stride = 1;
  for (int axis = rank() - 1; axis >= 0; --axis) {
    if (shape_[axis] != 1 && strides_[axis] != stride) return false;
    stride *= shape_[axis];
  }
  return true;
}

std::string ConstTensorView::to_string() const {
  return fmt::format("{} {}", dtype_name(dtype_), shape_.to_string());
}

TensorView TensorView::reshape(const Shape& shape) const {
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

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace miniinfer {

enum class DType : uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kFloat8E4M3,
  kFloat8E5M2,
  kInt8,
  kUInt8,
  kInt16,
  kUInt16,
  kInt32,
  kUInt32,
  kInt64,
  kUInt64,
  kBool,
};

// Bytes of one element.
constexpr size_t dtype_size(DType dtype) {
  constexpr uint8_t kSizes[] = {4, 2, 2, 8, 1, 1, 1, 1, 2, 2, 4, 4, 8, 8, 1};
  return kSizes[static_cast<size_t>(dtype)];
}
std::string_view dtype_name(DType dtype);                           // "float32", "bfloat16", ...
std::optional<DType> dtype_from_safetensors(std::string_view tag);  // "F32", "BF16", ...
// Unit roundoff: the largest relative error of rounding a real number to `dtype` (bf16 2^-8, fp16
// 2^-11, fp32 2^-24); 0 for integers.
double dtype_roundoff(DType dtype);

enum class DeviceType : uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

// Up to six dimensions, held inline. More abort the program: who reads shapes from a file checks
// them first.
class Shape {
 public:
  static constexpr int kMaxRank = 6;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims)
      : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
    if (dims.size() > kMaxRank) [[unlikely]]
      abort_for_rank(dims.size());
    for (size_t i = 0; i < dims.size(); ++i) dims_[i] = dims[i];
  }
  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[axis]; }  // axis in [0, rank)
  int64_t& operator[](int axis) { return dims_[axis]; }
  int64_t num_elements() const;  // 1 for rank 0
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (size_t i = 0; i < static_cast<size_t>(rank_); ++i)
      if (dims_[i] != other.dims_[i]) return false;
    return true;
  }
  std::string to_string() const;  // "[2, 3]"

 private:
  [[noreturn]] static void abort_for_rank(size_t rank);
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

// A typed, strided view of memory that somebody else owns. Strides are in elements, row-major
// unless given. A view of null, the default, is undefined: an operand left out. What a small
// model's step does hundreds of times lies in this header.
class ConstTensorView {
 public:
  ConstTensorView() = default;
  ConstTensorView(const void* data, const Shape& shape, DType dtype, Device device = {})
      : data_(const_cast<void*>(data)),
        shape_(shape),
        strides_(shape),
        dtype_(dtype),
        device_(device) {
    int64_t stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      strides_[axis] = stride;
      stride *= shape[axis];
    }
  }
  // Shape and strides of different ranks abort the program.
  ConstTensorView(const void* data, const Shape& shape, const Shape& strides, DType dtype,
                  Device device = {})
      : data_(const_cast<void*>(data)),
        shape_(shape),
        strides_(strides),
        dtype_(dtype),
        device_(device) {
    if (shape.rank() != strides.rank()) [[unlikely]]
      abort_for_strides();
  }

  const void* raw() const { return data_; }
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(data_);
  }
  const Shape& shape() const { return shape_; }
  // A negative axis counts from the end.
  int64_t dim(int axis) const { return shape_[axis < 0 ? axis + shape_.rank() : axis]; }
  int64_t stride(int axis) const { return strides_[axis < 0 ? axis + shape_.rank() : axis]; }
  int rank() const { return shape_.rank(); }
  int64_t num_elements() const { return shape_.num_elements(); }
  // Of the elements, without the gaps between strided rows.
  size_t num_bytes() const { return static_cast<size_t>(num_elements()) * dtype_size(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  bool defined() const { return data_ != nullptr; }
  bool is_contiguous() const;
  // Rows [begin, end) of the first dimension; a range outside of it aborts the program.
  ConstTensorView rows(int64_t begin, int64_t end) const {
    ConstTensorView view = *this;
    view.take_rows(begin, end);
    return view;
  }
  // "bfloat16 [2, 3]", for messages.
  std::string to_string() const;

 protected:
  void take_rows(int64_t begin, int64_t end) {
    if (!(rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0])) [[unlikely]]
      abort_for_rows(begin, end);
    data_ =
        static_cast<char*>(data_) + begin * strides_[0] * static_cast<int64_t>(dtype_size(dtype_));
    shape_[0] = end - begin;
  }
  [[noreturn]] static void abort_for_strides();
  [[noreturn]] void abort_for_rows(int64_t begin, int64_t end) const;

  void* data_ = nullptr;  // written only through TensorView
  Shape shape_;
  Shape strides_;
  DType dtype_ = DType::kFloat32;
  Device device_;
};

// A view whose elements may be written.
class TensorView : public ConstTensorView {
 public:
  TensorView() = default;
  TensorView(void* data, const Shape& shape, DType dtype, Device device = {})
      : ConstTensorView(data, shape, dtype, device) {}
  TensorView(void* data, const Shape& shape, const Shape& strides, DType dtype, Device device = {})
      : ConstTensorView(data, shape, strides, dtype, device) {}

  void* raw() const { return data_; }
  template <typename T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  TensorView rows(int64_t begin, int64_t end) const {
    TensorView view = *this;
    view.take_rows(begin, end);
    return view;
  }
  // The same memory under another shape. The view must be contiguous and the element counts equal,
  // or the program aborts.
  TensorView reshape(const Shape& shape) const;
};

// Where storage comes from: the host's heap or a device's memory. Any thread may call both.
class MemoryResource {
 public:
  virtual ~MemoryResource() = default;
  // Uninitialized, aligned to alignment(). Throws Error resource_exhausted that names the bytes.
  virtual void* allocate(size_t bytes) = 0;
  virtual void deallocate(void* pointer) noexcept = 0;
  virtual Device device() const = 0;
  virtual size_t alignment() const = 0;  // 64 on the host, 256 on a device
};

// The resource of a device; lives as long as the program. Throws Error unsupported for a CUDA
// device that this build or machine does not have.
MemoryResource& memory_of(Device device);

// Owns uninitialized storage on a device. Movable, not copyable.
class Tensor {
 public:
  Tensor() = default;
  // Throws Error resource_exhausted, and what memory_of throws.
  Tensor(Shape shape, DType dtype, Device device = {});
  TensorView view() const { return view_; }
  operator TensorView() const { return view_; }  // NOLINT: a tensor is used wherever a view is
  template <typename T>
  T* data() const {
    return view_.data<T>();
  }
  const Shape& shape() const { return view_.shape(); }
  DType dtype() const { return view_.dtype(); }
  Device device() const { return view_.device(); }
  bool defined() const { return view_.defined(); }

 private:
  struct Free {
    MemoryResource* memory;
    void operator()(void* pointer) const { memory->deallocate(pointer); }
  };
  std::unique_ptr<void, Free> storage_;
  TensorView view_;
};

}  // namespace miniinfer

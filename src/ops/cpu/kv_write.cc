#include <cstring>

#include "base/thread_pool.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/kernels.h"
#include "ops/rows.h"

namespace miniinfer::cpu {
namespace {

constexpr int64_t kBlock = 16;

// `key` [dim / 2][2] into column `offset` of [dim / 2][16][2].
void scatter_key(const uint16_t* key, int64_t dim, int64_t offset, uint16_t* block) {
  for (int64_t i = 0; i < dim; i += 2) std::memcpy(block + i * kBlock + 2 * offset, key + i, 4);
}

void scatter_key(const uint32_t* key, int64_t dim, int64_t offset, uint32_t* block) {
  for (int64_t i = 0; i < dim; ++i) block[i * kBlock + offset] = key[i];
}

// `value` [dim] into row `offset / 2`, half `offset % 2`, of [8][dim][2].
void scatter_value(const uint16_t* value, int64_t dim, int64_t offset, uint16_t* block) {
  uint16_t* row = block + offset / 2 * dim * 2 + offset % 2;
  for (int64_t i = 0; i < dim; ++i) row[2 * i] = value[i];
}

void scatter_value(const uint32_t* value, int64_t dim, int64_t offset, uint32_t* block) {
  std::memcpy(block + offset * dim, value, static_cast<size_t>(dim) * 4);
}

template <typename Word>
void write_tokens(const KvWriteArgs& args, Word* buffer, int64_t begin, int64_t end) {
  const ConvertFn convert = convert_fn();
  const int64_t heads = args.cache.keys.dim(1), dim = args.cache.head_dim;
  const DType dtype = args.cache.keys.dtype();
  const Rows k_rows(args.k), v_rows(args.v);
  const int32_t* slots = args.slot_mapping.data<int32_t>();
  const auto as_words = [&](const ConstTensorView& view, const Rows& rows, int64_t row) {
    if (view.dtype() == dtype) return static_cast<const Word*>(rows.row(row));
    convert(view.dtype(), rows.row(row), dtype, buffer, dim);
    return static_cast<const Word*>(buffer);
  };
  for (int64_t t = begin; t < end; ++t) {
    if (slots[t] < 0) continue;
    const int64_t block = slots[t] / kBlock, offset = slots[t] % kBlock;
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t start = block * args.cache.keys.stride(0) + h * kBlock * dim;
      const int64_t row = t * heads + h;
      scatter_key(as_words(args.k, k_rows, row), dim, offset, args.cache.keys.data<Word>() + start);
      scatter_value(as_words(args.v, v_rows, row), dim, offset,
                    args.cache.values.data<Word>() + start);
    }
  }
}

}  // namespace

void kv_write(ExecContext& context, const KvWriteArgs& args) {
  const Workspace::Scope scope(context.workspace());
  const int64_t dim = args.cache.head_dim;
  float* buffers = context.workspace().allocate_array<float>(dim * context.num_threads());
  std::atomic<int> next_buffer{0};
  const int64_t width = args.cache.keys.dim(1) * dim;
  context.pool().parallel_for(
      args.slot_mapping.dim(0), row_grain(width * 8), [&](int64_t begin, int64_t end) {
        float* buffer = buffers + dim * next_buffer.fetch_add(1, std::memory_order_relaxed);
        if (args.cache.keys.dtype() == DType::kFloat32) {
          write_tokens(args, reinterpret_cast<uint32_t*>(buffer), begin, end);
        } else {
          write_tokens(args, reinterpret_cast<uint16_t*>(buffer), begin, end);
        }
      });
}

}  // namespace miniinfer::cpu

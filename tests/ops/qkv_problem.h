#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "miniinfer/ops/qkv_to_cache.h"
#include "ops/op_test.h"

namespace miniinfer {

// A random step for qkv_to_cache() on the host, with what it must give in double.
struct QkvProblem {
  int heads, kv_heads, dim, half, tokens;
  bool norms, tables;
  Strided qkv, q;
  Tensor q_norm, k_norm, positions, inv_freq, cos, sin, slots, keys, values;
  static constexpr int kBlocks = 9;

  explicit QkvProblem(Random& random) {
    const int dims[] = {8, 40, 64, 80, 96, 128, 192, 256};
    dim = dims[random.below(8)];
    kv_heads = static_cast<int>(1 + random.below(3));
    heads = kv_heads * static_cast<int>(1 + random.below(5));
    tokens = static_cast<int>(1 + random.below(20));
    half = random.below(3) == 0 ? static_cast<int>(random.below(dim / 2 + 1)) : dim / 2;
    norms = random.below(2) == 0;
    tables = random.below(3) == 0;
    const auto any = [&] { return kFloatDTypes[random.below(3)]; };
    const int64_t gaps[] = {0, 16, 3};
    qkv = Strided({tokens, (heads + 2 * kv_heads) * dim}, any(), gaps[random.below(3)]);
    qkv.fill(random.next(), 2);
    q = Strided({tokens, heads, dim}, any(), gaps[random.below(3)]);
    q_norm = random_tensor({dim}, any(), random.next());
    k_norm = random_tensor({dim}, any(), random.next());
    positions = Tensor({tokens}, DType::kInt32);
    slots = Tensor({tokens}, DType::kInt32);
    std::vector<int32_t> free(kBlocks * 16);
    std::iota(free.begin(), free.end(), 0);
    for (int t = 0; t < tokens; ++t) {
      positions.data<int32_t>()[t] =
          static_cast<int32_t>(random.below(int64_t{1} << random.below(21)));
      std::swap(free[t], free[t + random.below(static_cast<int64_t>(free.size()) - t)]);
      slots.data<int32_t>()[t] = random.below(5) == 0 ? -1 : free[t];
    }
    const int64_t angles = std::max(half, 1);
    inv_freq = Tensor({angles}, DType::kFloat32);
    for (int64_t i = 0; i < angles; ++i)
      inv_freq.data<float>()[i] = static_cast<float>(
          std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(angles)));
    cos = random_tensor({tokens, angles}, DType::kFloat32, random.next());
    sin = random_tensor({tokens, angles}, DType::kFloat32, random.next());
    const DType cache = any();
    keys = Tensor({kBlocks, kv_heads, 16 * dim}, cache);
    values = Tensor({kBlocks, kv_heads, 16 * dim}, cache);
    poison(keys.view());
    poison(values.view());
  }

  // The arguments over these tensors, or over copies of them elsewhere: place(tensor or strided)
  // gives the view to use.
  template <typename Place>
  QkvToCacheArgs args(Place&& place) const {
    QkvToCacheArgs args{.qkv = place(qkv),
                        .num_heads = heads,
                        .num_kv_heads = kv_heads,
                        .eps = 1e-5F,
                        .slot_mapping = place(slots),
                        .cache = {place(keys), place(values), 16, dim},
                        .q = place(q)};
    if (norms) {
      args.q_norm = place(q_norm);
      args.k_norm = place(k_norm);
    }
    if (half > 0 && tables) {
      args.cos = place(cos);
      args.sin = place(sin);
    } else if (half > 0) {
      args.positions = place(positions);
      args.inv_freq = place(inv_freq);
      args.rope_scale = 1.25F;
    }
    return args;
  }
  std::string to_string() const {
    return fmt::format(
        "{} tokens, {}/{} heads of {}, {} angles, norms {}, tables {}, qkv {}, q {}, "
        "cache {}",
        tokens, heads, kv_heads, dim, half, norms, tables, qkv.view.to_string(), q.view.to_string(),
        keys.view().to_string());
  }
};

// Roundings of float32 in the norm and in a rotation whose terms may cancel, of values up to 4
// after a norm's scale.
inline constexpr double kQkvAbsolute = 4e-6, kQkvRelative = 4e-6;

}  // namespace miniinfer

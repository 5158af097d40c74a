#include <algorithm>

#include "ops/cuda/skinny_gemm.h"

namespace miniinfer::cuda {
namespace {

// The rest is left to the small kernels between products: they are on the device when we end.
constexpr int kBudget = 200 << 10;
constexpr int kMaxStages = kSkinnyBarrierBytes / 16;

int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}

}  // namespace

SkinnyConfig choose_skinny(int m, int n, int k, bool gated, int num_sms, int shared_bytes) {
  SkinnyConfig c;
  // Two tiles read x half as often, and halve the passes, of which each ends in a sum over warps;
  // one keeps more and smaller stages in flight.
  const int columns = m > 8 ? 2 : 1;
  c.tiles = columns == 2 || k <= 2048 ? 2 : 1;
  const int most = (gated ? 8 : 16) * c.tiles;
  c.block_rows = ceil_div(ceil_div(n, num_sms), 8) * 8;
  c.blocks = ceil_div(n, c.block_rows);
  const int passes = ceil_div(c.block_rows, most);
  c.pass_rows = ceil_div(ceil_div(c.block_rows, passes), 8) * 8;
  const int fixed = kSkinnyBarrierBytes + skinny_sums_bytes(c.tiles, columns);
  const int stage = (16 * c.tiles + m) * kSkinnyRowBytes;
  const int used = ceil_div(c.block_rows, c.pass_rows) * ceil_div(k, kSkinnyChunk);
  const int fit = (std::min(shared_bytes, kBudget) - fixed) / stage;
  if (fit < std::min(2, used)) return {};
  c.stages = std::min({fit, kMaxStages, used});
  c.shared_bytes = fixed + c.stages * stage;
  return c;
}

}  // namespace miniinfer::cuda

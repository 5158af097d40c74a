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

// Tiles and warps a team, as measured (H200, TB/s in a row of dependent products). Up to four rows:
// many passes go best in small stages (28672 x 4096: 4.30 for 4.07), few in large ones (4096 x
// 4096: 3.66 for 3.53). From there on x weighs: two tiles read it half as often.
void choose_stage(int m, int n, bool gated, int num_sms, SkinnyConfig& c) {
  const int columns = ceil_div(n, num_sms), tile_columns = gated ? 8 : 16;
  if (m > 8) {
    c.tiles = 2, c.team = 2;
  } else if (m > 4 && columns > tile_columns) {
    c.tiles = 2, c.team = 4;
  } else {
    c.tiles = 1, c.team = columns > 3 * tile_columns ? 2 : 4;
  }
}

}  // namespace

SkinnyConfig choose_skinny(int m, int n, int k, bool gated, int num_sms, int shared_bytes) {
  SkinnyConfig c;
  choose_stage(m, n, gated, num_sms, c);
  const int columns = m > 8 ? 2 : 1, most = (gated ? 8 : 16) * c.tiles;
  c.block_rows = ceil_div(ceil_div(n, num_sms), 8) * 8;
  c.blocks = ceil_div(n, c.block_rows);
  const int passes = ceil_div(c.block_rows, most);
  c.pass_rows = ceil_div(ceil_div(c.block_rows, passes), 8) * 8;
  const int fixed = kSkinnyBarrierBytes + skinny_sums_bytes(c.tiles, columns);
  const int stage = (16 * c.tiles + m) * skinny_row_bytes(c.team);
  // A team passes over the others' stages without looking. So each has its own: on another's it
  // could take the barrier's last phase but one for the one it waits for.
  const int teams = kSkinnyConsumers / c.team;
  const int used =
      ceil_div(c.block_rows, c.pass_rows) * ceil_div(k, kSkinnyConsumers * kSkinnyShare) * teams;
  const int fit = std::min((std::min(shared_bytes, kBudget) - fixed) / stage, kMaxStages);
  c.stages = fit >= used ? used : fit / teams * teams;
  if (c.stages == 0) return {};
  c.shared_bytes = fixed + c.stages * stage;
  return c;
}

}  // namespace miniinfer::cuda

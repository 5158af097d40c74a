#include <cstdio>

#include <miniinfer/ops/norm.h>

int main() {
  auto context = miniinfer::ExecContext::cpu();
  float x[] = {3, 4, -3, -4}, weight[] = {1, 2}, out[4];
  using enum miniinfer::DType;
  miniinfer::rms_norm(context, {.x = {x, {2, 2}, kFloat32},
                                .weight = {weight, {2}, kFloat32},
                                .out = {out, {2, 2}, kFloat32}});
  std::printf("%.4f %.4f %.4f %.4f\n", out[0], out[1], out[2], out[3]);
}

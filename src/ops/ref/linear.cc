#include "ops/ref/linear.h"

#include "tensor/numeric.h"

namespace miniinfer::ref {
namespace {

double element(const ConstTensorView& view, int64_t index) {
  return dispatch_float(view.dtype(), [&]<typename T>(T) {
    return static_cast<double>(to_float(view.data<T>()[index]));
  });
}

}  // namespace

void linear(const LinearArgs& args) {
  const int64_t m = args.x.dim(0), k = args.x.dim(1), n = args.weight.dim(0);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = args.bias.defined() ? element(args.bias, j * args.bias.stride(0)) : 0;
      for (int64_t p = 0; p < k; ++p)
        sum += element(args.x, i * args.x.stride(0) + p) *
               element(args.weight, j * args.weight.stride(0) + p);
      const int64_t at = i * args.out.stride(0) + j;
      if (args.accumulate) sum += element(args.out, at);
      dispatch_float(args.out.dtype(), [&]<typename T>(T) {
        args.out.data<T>()[at] = from_float<T>(static_cast<float>(sum));
      });
    }
  }
}

}  // namespace miniinfer::ref

#include "ops/cuda/gemm.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <unistd.h>

#include "base/check.h"
#include "ops/cuda/gemm_impl.h"
#include "tensor/cuda/device_state.h"
#include "tensor/fail_allocation.h"

namespace miniinfer::cuda {
namespace {

// Beyond that many different products (an eager engine sees every number of rows) the prepared ones
// are made anew, for some microseconds each.
constexpr size_t kMaxProducts = 8192;

// What a product of any number of rows is chosen for, batch-invariantly. An 8B model on an H200, of
// 64, 128, 256 and 512: 8 prompts of 2,048 tokens take 701, 484, 398 and 374 ms (373 without the
// mode), 256 answers get 12.8, 22.1, 23.8 and 21.6k tokens/s (26.6k), one 69, 161, 112 and 101
// (234); a 0.6B model 300, 280, 604 and 584 (1,001).
constexpr int64_t kInvariantRows = 256;

// Partial sums of a split K are added in float32 and in order: neither accuracy nor the bits of a
// result may depend on a race.
constexpr uint32_t kReductions = kLtReductionComputeType;

int lt_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return kLtReal16F;
    case DType::kBFloat16:
      return kLtReal16BF;
    default:
      return kLtReal32F;
  }
}

// The distance of rows; a lone row may carry any.
int64_t row_stride(const ConstTensorView& view) {
  return view.dim(0) == 1 ? view.dim(1) : view.stride(0);
}

int64_t row_bytes(const ConstTensorView& view) {
  return row_stride(view) * static_cast<int64_t>(dtype_size(view.dtype()));
}

// What the library multiplies: equal inputs, an output of their type or float32, a bias of the
// output's type when it adds it itself.
bool library_takes(const LinearArgs& args) {
  const DType in = args.x.dtype(), out = args.out.dtype();
  return args.weight.dtype() == in && (out == in || out == DType::kFloat32) && args.x.dim(1) > 0 &&
         row_stride(args.x) >= args.x.dim(1) && row_stride(args.weight) >= args.weight.dim(1) &&
         row_stride(args.out) >= args.out.dim(1);
}

}  // namespace

std::string gemm_cache_file(const std::string& device, uint64_t version) {
  std::filesystem::path base;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    base = cache;
  else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    base = std::filesystem::path(home) / ".cache";
  else
    return {};
  std::string name = device;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '-';
  return base / "miniinfer" / fmt::format("gemm-{}-{}.txt", name, version);
}

GemmState& GemmState::of(ExecContext& context) {
  DeviceState& state = context.cuda_state();
  if (state.gemm == nullptr) state.gemm = std::make_shared<GemmState>(context);
  return *state.gemm;
}

GemmState::GemmState(ExecContext& context)
    : lt_(cublaslt()),
      workspace_({static_cast<int64_t>(kGemmWorkspaceBytes)}, DType::kUInt8, context.device()),
      table_(context.cuda_state().info().name, lt_.GetVersion()) {
  check_lt(allocation_must_fail() ? kLtAllocationFailed : lt_.Create(&handle_), "Create");
  cache_file_ = gemm_cache_file(context.cuda_state().info().name, lt_.GetVersion());
  read_cache();
  for (const std::string_view text : shipped_gemm_tables()) table_.merge(text);
}

void GemmState::read_cache() {
  std::ifstream in(cache_file_);
  if (!in) return;
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const auto lines = static_cast<size_t>(std::ranges::count(text, '\n'));
  const size_t read = table_.merge(text);
  // A line for each entry behind the first, and all end.
  if (in.bad() || lines == 0 || !text.ends_with('\n') || read + 1 != lines)
    damage_ = fmt::format("{}: damaged: {} entries could be read, the rest is searched again",
                          cache_file_, read);
}

GemmState::~GemmState() {
  products_.clear();
  if (handle_ != nullptr) lt_.Destroy(handle_);
}

bool GemmState::save() {
  if (cache_file_.empty()) return false;
  const std::filesystem::path path = cache_file_;
  // Through a name of our own: two processes may save at once, and a reader sees a whole file.
  const std::filesystem::path part = fmt::format("{}.{}", cache_file_, getpid());
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::ofstream out(part);
  out << table_.to_text();
  out.close();
  if (out) std::filesystem::rename(part, path, error);
  if (!out || error) {
    std::filesystem::remove(part, error);
    return false;
  }
  damage_.clear();
  return true;
}

// Column-major, as the library thinks: out^T [n, m] = weight [k, n]^T * x^T [k, m].
GemmState::Product GemmState::make_product(const ProductKey& key) const {
  const GemmKey& g = key.gemm;
  const auto rows = [](int64_t value) { return static_cast<uint64_t>(value); };
  Product product;
  product.lt = &lt_;
  product.bias = g.bias;
  check_lt(lt_.MatmulDescCreate(&product.desc, kLtComputeFloat32, kLtReal32F), "MatmulDescCreate");
  const int32_t transpose = kLtOpTranspose;
  check_lt(lt_.MatmulDescSetAttribute(product.desc, kLtDescTransA, &transpose, sizeof transpose),
           "transpose");
  if (g.bias) {
    const int32_t epilogue = kLtEpilogueBias, type = lt_type(g.out);
    check_lt(lt_.MatmulDescSetAttribute(product.desc, kLtDescEpilogue, &epilogue, sizeof epilogue),
             "epilogue");
    check_lt(lt_.MatmulDescSetAttribute(product.desc, kLtDescBiasType, &type, sizeof type),
             "bias type");
  }
  check_lt(lt_.MatrixLayoutCreate(&product.weight, lt_type(g.in), rows(g.k), rows(g.n),
                                  key.weight_stride),
           "MatrixLayoutCreate");
  check_lt(lt_.MatrixLayoutCreate(&product.x, lt_type(g.in), rows(g.k), rows(g.m), key.x_stride),
           "MatrixLayoutCreate");
  check_lt(
      lt_.MatrixLayoutCreate(&product.out, lt_type(g.out), rows(g.n), rows(g.m), key.out_stride),
      "MatrixLayoutCreate");
  return product;
}

std::vector<LtHeuristic> GemmState::candidates(const Product& product, int alignment, int wanted,
                                               uint32_t reductions) const {
  LtPreference* preference = nullptr;
  check_lt(lt_.MatmulPreferenceCreate(&preference), "MatmulPreferenceCreate");
  const uint64_t workspace = kGemmWorkspaceBytes;
  (void)lt_.MatmulPreferenceSetAttribute(preference, kLtPreferenceWorkspace, &workspace,
                                         sizeof workspace);
  (void)lt_.MatmulPreferenceSetAttribute(preference, kLtPreferenceReductions, &reductions,
                                         sizeof reductions);
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto bytes = static_cast<uint32_t>(alignment);
    (void)lt_.MatmulPreferenceSetAttribute(preference, kLtPreferenceAlignmentA + matrix, &bytes,
                                           sizeof bytes);
  }
  std::vector<LtHeuristic> list(static_cast<size_t>(wanted));
  int found = 0;
  const int status =
      lt_.MatmulAlgoGetHeuristic(handle_, product.desc, product.weight, product.x, product.out,
                                 product.out, preference, wanted, list.data(), &found);
  (void)lt_.MatmulPreferenceDestroy(preference);
  list.resize(status == kLtSuccess ? static_cast<size_t>(found) : 0);
  std::erase_if(list, [](const LtHeuristic& one) { return one.status != kLtSuccess; });
  return list;
}

bool GemmState::check(const Product& product, const LtAlgo& algo) const {
  LtHeuristic result{};
  return lt_.MatmulAlgoCheck(handle_, product.desc, product.weight, product.x, product.out,
                             product.out, &algo, &result) == kLtSuccess &&
         result.workspace_bytes <= kGemmWorkspaceBytes;
}

bool GemmState::choose(const GemmKey& key, Product& product) const {
  GemmKey bucket = key;
  bucket.m = gemm_bucket(key.m);
  const GemmChoice* choice = table_.find(bucket);
  if (choice == nullptr && key.bias) {  // the same product without it is the best guess
    bucket.bias = false;
    choice = table_.find(bucket);
  }
  if (choice != nullptr) {
    LtAlgo algo;
    std::copy_n(choice->words, 8, algo.data);
    if (check(product, algo)) {
      product.algo = algo;
      return true;
    }
  }
  const auto list = candidates(product, key.alignment, 1, kReductions);
  if (list.empty()) return false;
  product.algo = list.front().algo;
  return true;
}

bool GemmState::choose_for_all_rows(const ProductKey& key, Product& product) {
  GemmKey any = key.gemm;
  any.m = 0;
  const auto [found, is_new] = for_all_rows_.try_emplace(any);
  if (is_new) {
    // An algorithm's tile makes a row of out in one order of k; only where K is split into parts
    // may that follow the number of rows.
    ProductKey model = key;
    model.gemm.m = kInvariantRows;
    const auto list = candidates(make_product(model), any.alignment, 1, kLtReductionNone);
    if (!list.empty()) found->second = list.front().algo;
  }
  if (!found->second) return false;
  require(
      check(product, *found->second), ErrorCode::kInternal,
      "linear: cuBLASLt's algorithm for {} x {} does not take {} rows, as batch invariance needs",
      any.n, any.k, key.gemm.m);
  product.algo = *found->second;
  return true;
}

int GemmState::launch(const Product& product, const LinearArgs& args, const LtAlgo& algo,
                      CUstream_st* stream) const {
  if (product.bias) {
    const void* bias = args.bias.raw();
    check_lt(lt_.MatmulDescSetAttribute(product.desc, kLtDescBiasPointer, &bias, sizeof bias),
             "bias");
  }
  const float one = 1, beta = args.accumulate ? 1 : 0;
  return lt_.Matmul(handle_, product.desc, &one, args.weight.raw(), product.weight, args.x.raw(),
                    product.x, &beta, args.out.raw(), product.out, args.out.raw(), product.out,
                    &algo, workspace_.data<char>(), kGemmWorkspaceBytes, stream);
}

bool GemmState::run(ExecContext& context, const LinearArgs& args) {
  if (!library_takes(args)) return false;
  // A bias of another type than the output's is for the caller to add.
  const bool bias = args.bias.defined();
  if (bias && args.bias.dtype() != args.out.dtype()) return false;
  int alignment = std::min({alignment_of(args.x.raw(), row_bytes(args.x)),
                            alignment_of(args.weight.raw(), row_bytes(args.weight)),
                            alignment_of(args.out.raw(), row_bytes(args.out))});
  if (bias) alignment = std::min(alignment, alignment_of(args.bias.raw(), 0));
  // Kernels for odd addresses round the product to 16 bits and add the bias to that.
  if (bias && alignment < 16) return false;
  const ProductKey key = {.gemm = {.m = args.x.dim(0),
                                   .n = args.weight.dim(0),
                                   .k = args.x.dim(1),
                                   .in = args.x.dtype(),
                                   .out = args.out.dtype(),
                                   .bias = bias,
                                   .alignment = alignment},
                          .x_stride = row_stride(args.x),
                          .weight_stride = row_stride(args.weight),
                          .out_stride = row_stride(args.out)};
  auto found = products_.find(key);
  if (found == products_.end()) {
    if (products_.size() >= kMaxProducts) products_.clear();
    auto product = std::make_unique<Product>(make_product(key));
    product->possible = context.cuda_state().batch_invariant ? choose_for_all_rows(key, *product)
                                                             : choose(key.gemm, *product);
    found = products_.emplace(key, std::move(product)).first;
  }
  if (!found->second->possible) return false;
  check_lt(launch(*found->second, args, found->second->algo, context.cuda_state().stream().get()),
           "Matmul");
  return true;
}

}  // namespace miniinfer::cuda

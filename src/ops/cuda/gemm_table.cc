#include "ops/cuda/gemm_table.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace miniinfer::cuda {
namespace {

constexpr std::string_view kMagic = "miniinfer-gemm-1";

// Takes one word off the front of `line`, separators included.
std::string_view next_word(std::string_view& line) {
  const size_t begin = std::min(line.find_first_not_of(' '), line.size());
  const size_t end = std::min(line.find(' ', begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

template <typename T>
bool parse(std::string_view& line, T& value, int base = 10) {
  const std::string_view word = next_word(line);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  return error == std::errc() && end == word.data() + word.size();
}

bool parse_dtype(std::string_view& line, DType& dtype) {
  const std::string_view word = next_word(line);
  for (const DType candidate : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    if (word != dtype_name(candidate)) continue;
    dtype = candidate;
    return true;
  }
  return false;
}

bool parse_line(std::string_view line, GemmKey& key, GemmChoice& choice) {
  int bias = 0;
  if (!parse(line, key.m) || !parse(line, key.n) || !parse(line, key.k) ||
      !parse_dtype(line, key.in) || !parse_dtype(line, key.out) || !parse(line, bias) ||
      !parse(line, key.alignment))
    return false;
  key.bias = bias != 0;
  for (uint64_t& word : choice.words)
    if (!parse(line, word, 16)) return false;
  return next_word(line).empty();
}

std::string_view next_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

size_t GemmKeyHash::operator()(const GemmKey& key) const {
  uint64_t hash = 0;
  for (const int64_t part : {key.m, key.n, key.k,
                             int64_t{key.alignment} << 24 | static_cast<int64_t>(key.in) << 16 |
                                 static_cast<int64_t>(key.out) << 8 | (key.bias ? 1 : 0)})
    hash = (hash ^ static_cast<uint64_t>(part)) * 0x9e3779b97f4a7c15 ^ hash >> 29;
  return hash;
}

int64_t gemm_bucket(int64_t m) {
  int64_t power = 1;
  while (power < m) power *= 2;
  return power >= 4 && power / 4 * 3 >= m ? power / 4 * 3 : power;
}

const GemmChoice* GemmTable::find(const GemmKey& key) const {
  const auto found = choices_.find(key);
  return found == choices_.end() ? nullptr : &found->second;
}

size_t GemmTable::merge(std::string_view text) {
  std::string_view header = next_line(text);
  uint64_t version = 0;
  if (next_word(header) != kMagic || !parse(header, version) || version != version_) return 0;
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  if (header != device_) return 0;
  size_t count = 0;
  while (!text.empty()) {
    GemmKey key;
    GemmChoice choice;
    if (parse_line(next_line(text), key, choice) && choices_.emplace(key, choice).second) ++count;
  }
  return count;
}

std::string GemmTable::to_text() const {
  std::vector<std::string> lines;
  for (const auto& [key, choice] : choices_) {
    std::string line =
        fmt::format("{} {} {} {} {} {:d} {}", key.m, key.n, key.k, dtype_name(key.in),
                    dtype_name(key.out), key.bias, key.alignment);
    for (const uint64_t word : choice.words) line += fmt::format(" {:x}", word);
    lines.push_back(std::move(line));
  }
  std::ranges::sort(lines);
  std::string text = fmt::format("{} {} {}\n", kMagic, version_, device_);
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::vector<LinearArgs> join_adjacent(std::span<const LinearArgs> group) {
  std::vector<LinearArgs> joined;
  for (const LinearArgs& args : group) {
    if (!joined.empty()) {
      LinearArgs& last = joined.back();
      const auto follows = [](const ConstTensorView& a, const ConstTensorView& b, int64_t bytes) {
        return a.dtype() == b.dtype() && a.stride(0) == b.stride(0) &&
               static_cast<const char*>(a.raw()) + bytes == b.raw();
      };
      const int64_t weight_bytes = last.weight.dim(0) * last.weight.stride(0) *
                                   static_cast<int64_t>(dtype_size(last.weight.dtype()));
      const int64_t out_bytes =
          last.out.dim(1) * static_cast<int64_t>(dtype_size(last.out.dtype()));
      if (!last.bias.defined() && !args.bias.defined() && last.accumulate == args.accumulate &&
          follows(last.weight, args.weight, weight_bytes) &&
          follows(last.out, args.out, out_bytes)) {
        const int64_t n = last.weight.dim(0) + args.weight.dim(0);
        last.weight = {last.weight.raw(),
                       {n, last.weight.dim(1)},
                       {last.weight.stride(0), 1},
                       last.weight.dtype(),
                       last.weight.device()};
        last.out = {last.out.raw(),
                    {last.out.dim(0), n},
                    {last.out.stride(0), 1},
                    last.out.dtype(),
                    last.out.device()};
        continue;
      }
    }
    joined.push_back(args);
  }
  return joined;
}

int alignment_of(const void* address, int64_t stride_bytes) {
  const uint64_t bits =
      reinterpret_cast<uint64_t>(address) | static_cast<uint64_t>(stride_bytes) | 16;
  return static_cast<int>(bits & (~bits + 1));
}

}  // namespace miniinfer::cuda

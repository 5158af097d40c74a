#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include <sched.h>
#include <unistd.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "weights/safetensors_header.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxIndexBytes = size_t{100} << 20;

// Where one tensor lies.
struct StoredTensor {
  std::string name;
  int file = 0;
  ConstTensorView view;
};

class SafetensorsStore : public WeightStore {
 public:
  SafetensorsStore() = default;
  ~SafetensorsStore() override {
    stop_prefetch_.store(true, std::memory_order_relaxed);
    if (prefetching_.joinable()) prefetching_.join();
  }

  // All tensors of the file, or those named when `wanted` is given (ascending).
  void add_file(const fs::path& path, const std::vector<std::string>* wanted) {
    files_.push_back(std::make_unique<MappedFile>(path));
    add_bytes(files_.back()->bytes(), path.string(), wanted);
  }

  void add_memory(std::vector<uint8_t> bytes, std::string name) {
    memory_ = std::move(bytes);
    add_bytes(memory_, std::move(name), nullptr);
  }

  void finish(std::string where) {
    where_ = std::move(where);
    std::ranges::sort(tensors_, {}, &StoredTensor::name);
  }

  void prefetch() const override {
    const std::lock_guard lock(mutex_);
    const size_t memory =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    // Mapping ahead what memory cannot hold would only push out what was just read.
    if (prefetching_.joinable() || num_bytes_ > memory / 2) return;
    prefetching_ = std::thread([this] { populate(); });
  }

  void release(const ConstTensorView& tensor) const override {
    const auto* begin = tensor.data<uint8_t>();
    for (const auto& file : files_) file->release(begin, tensor.num_bytes());
  }

  bool contains(std::string_view name) const override { return lookup(name) != nullptr; }

  ConstTensorView get(std::string_view name, const Shape& shape) const override {
    const StoredTensor* tensor = lookup(name);
    require(tensor != nullptr, ErrorCode::kDataCorrupt, "{}: {}: missing", where_, name);
    require(tensor->view.shape() == shape, ErrorCode::kDataCorrupt,
            "{}: {}: has shape {} instead of {}", file_names_[static_cast<size_t>(tensor->file)],
            name, tensor->view.shape().to_string(), shape.to_string());
    return tensor->view;
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> result;
    result.reserve(tensors_.size());
    for (const StoredTensor& tensor : tensors_) result.push_back(tensor.name);
    return result;
  }

  ConstTensorView find(std::string_view name) const override {
    const StoredTensor* tensor = lookup(name);
    require(tensor != nullptr, ErrorCode::kNotFound, "{}: {}: missing", where_, name);
    return tensor->view;
  }

  size_t num_bytes() const override { return num_bytes_; }

  std::string where() const override { return where_; }

  bool damaged() const override {
    return std::ranges::any_of(files_, [](const auto& file) { return file->damaged(); });
  }

 private:
  const StoredTensor* lookup(std::string_view name) const {
    const auto it = std::ranges::lower_bound(
        tensors_, name, {}, [](const StoredTensor& t) -> std::string_view { return t.name; });
    return it == tensors_.end() || it->name != name ? nullptr : &*it;
  }

  void add_bytes(std::span<const uint8_t> bytes, std::string file,
                 const std::vector<std::string>* wanted) {
    const int file_index = static_cast<int>(file_names_.size());
    std::vector<SafetensorsEntry> entries = parse_safetensors_header(bytes, file);
    if (wanted != nullptr) {
      for (const std::string& name : *wanted)
        require(std::ranges::binary_search(entries, name, {}, &SafetensorsEntry::name),
                ErrorCode::kDataCorrupt, "{}: {}: missing, though the index names this file", file,
                printable(name));
      std::erase_if(entries, [&](const auto& entry) {
        return !std::ranges::binary_search(*wanted, entry.name);
      });
    }
    for (SafetensorsEntry& entry : entries) {
      const void* data = aligned_data(bytes.subspan(entry.begin, entry.end - entry.begin),
                                      dtype_size(entry.dtype));
      tensors_.push_back(
          {std::move(entry.name), file_index, ConstTensorView(data, entry.shape, entry.dtype)});
    }
    num_bytes_ += bytes.size();
    file_names_.push_back(std::move(file));
  }

  // The bytes in place; a copy when the file puts a tensor at an address that its dtype may not
  // have.
  const void* aligned_data(std::span<const uint8_t> bytes, size_t alignment) {
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignment == 0) return bytes.data();
    copies_.emplace_back(Shape{static_cast<int64_t>(bytes.size())}, DType::kUInt8);
    std::memcpy(copies_.back().data<uint8_t>(), bytes.data(), bytes.size());
    num_bytes_ += bytes.size();
    return copies_.back().data<uint8_t>();
  }

  void populate() const {
    const sched_param priority = {};
    sched_setscheduler(0, SCHED_IDLE, &priority);
    // 4 MiB take 0.4 ms, the longest that a mmap elsewhere in the process waits for this thread.
    constexpr size_t kStep = size_t{4} << 20;
    for (const auto& file : files_)
      for (size_t at = 0; at < file->bytes().size(); at += kStep)
        if (stop_prefetch_.load(std::memory_order_relaxed) || !file->populate(at, kStep)) return;
  }

  std::string where_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<uint8_t> memory_;
  std::vector<std::string> file_names_;
  std::vector<StoredTensor> tensors_;  // by name
  std::vector<Tensor> copies_;
  size_t num_bytes_ = 0;
  mutable std::mutex mutex_;
  mutable std::thread prefetching_;
  std::atomic<bool> stop_prefetch_{false};
};

// Shard file -> names of its tensors, ascending.
std::map<std::string, std::vector<std::string>> read_index(const fs::path& path) {
  constexpr size_t kMaxShards = 1000;
  const Json json = parse_json(read_text_file(path, kMaxIndexBytes), path.string());
  const JsonView view(json, path.string());
  const std::optional<JsonView> weight_map = view.find_object("weight_map");
  if (!weight_map) view.reject("weight_map", "missing");
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [name, file] : weight_map->json().items()) {
    if (!file.is_string()) weight_map->reject(printable(name), "not a file name");
    shards[file.get<std::string>()].push_back(name);
    if (shards.size() > kMaxShards) view.reject("weight_map", "names more than 1000 files");
  }
  for (auto& [file, names] : shards) std::ranges::sort(names);
  return shards;
}

fs::path resolve_shard(const fs::path& directory, const std::string& index,
                       const std::string& file) {
  try {
    return resolve_inside(directory, file);
  } catch (const Error& error) {
    throw Error(error.code(),
                fmt::format("{}: weight_map: {}", (directory / index).string(), error.message()));
  }
}

}  // namespace

std::shared_ptr<const WeightStore> WeightStore::open(const fs::path& directory) {
  auto store = std::make_shared<SafetensorsStore>();
  std::error_code error;
  require(fs::is_directory(directory, error), ErrorCode::kNotFound, "{}: no such directory",
          directory.string());
  const std::string single = "model.safetensors", index = "model.safetensors.index.json";
  if (fs::exists(fs::symlink_status(directory / single, error))) {
    store->add_file(resolve_inside(directory, single), nullptr);
    store->finish((directory / single).string());
  } else if (fs::exists(fs::symlink_status(directory / index, error))) {
    for (const auto& [file, names] : read_index(resolve_inside(directory, index)))
      store->add_file(resolve_shard(directory, index, file), &names);
    store->finish((directory / index).string());
  } else {
    fail(ErrorCode::kNotFound, "{}: neither {} nor {} is there; other weight formats are not read",
         directory.string(), single, index);
  }
  return store;
}

std::shared_ptr<const WeightStore> WeightStore::from_memory(std::vector<uint8_t> bytes,
                                                            std::string name) {
  auto store = std::make_shared<SafetensorsStore>();
  store->add_memory(std::move(bytes), name);
  store->finish(std::move(name));
  return store;
}

}  // namespace miniinfer

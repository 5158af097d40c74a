#include "llm/checkpoint.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/mapped_file.h"
#include "llm/embedded_model.h"
#include "models/config_reader.h"
#include "models/shapes.h"
#include "text/text_file.h"

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

// Text files of a checkpoint; the largest tokenizers have 35 MB.
constexpr size_t kMaxTextBytes = 256 << 20;

// Links that lead nowhere are there too: reading them says what is wrong.
bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

}  // namespace

ModelSource ModelSource::from_name(const std::string& model) {
  std::error_code error;
  if (fs::is_directory(model, error))
    return {.kind = Kind::kDirectory, .name = model, .directory = model};
  if (model.empty() || model == kEmbeddedModelName)
    return {.kind = Kind::kEmbedded, .name = std::string(kEmbeddedModelName)};
  throw Error(
      ErrorCode::kInvalidArgument,
      model + (fs::is_regular_file(model, error) ? ": not a directory" : ": no such directory"),
      "model");
}

ModelSource ModelSource::from_shape(const std::string& shape) {
  try {
    return {.kind = Kind::kShape, .name = shape, .config_json = shape_config_json(shape)};
  } catch (const Error& error) {
    throw Error(ErrorCode::kInvalidArgument, error.message(), "shape");
  }
}

std::string ModelSource::path_of(const std::string& file) const {
  return kind == Kind::kDirectory ? (directory / file).string() : name + "/" + file;
}

std::string ModelSource::read_text(const std::string& file) const {
  switch (kind) {
    case Kind::kDirectory:
      return is_there(directory / file)
                 ? read_text_file(resolve_inside(directory, file), kMaxTextBytes)
                 : std::string();
    case Kind::kEmbedded: {
      const std::vector<std::string> files = embedded_files();
      // Without any model it is the missing model, not the missing file, that must be told.
      if (!files.empty() && std::find(files.begin(), files.end(), file) == files.end()) return {};
      return embedded_text(file);
    }
    case Kind::kShape:
      break;
  }
  return file == "config.json" ? config_json : std::string();
}

size_t ModelSource::size_of(const std::string& file) const {
  if (kind == Kind::kEmbedded) return embedded_file_bytes(file);
  if (kind == Kind::kShape) return 0;
  std::error_code error;
  const auto bytes = fs::file_size(directory / file, error);
  return error ? 0 : bytes;
}

TextSide load_text_side(const ModelSource& source, const std::string& tokenizer_directory,
                        const std::string& template_file) {
  ModelSource text = source;
  if (!tokenizer_directory.empty()) {
    text = ModelSource::from_name(tokenizer_directory);
    require(is_there(fs::path(tokenizer_directory) / "tokenizer.json"), ErrorCode::kInvalidArgument,
            "tokenizer: {}: no such file", text.path_of("tokenizer.json"));
  }
  TextSide side;
  if (text.kind == ModelSource::Kind::kDirectory) {
    if (is_there(text.directory / "tokenizer.json"))
      side.tokenizer = Tokenizer::from_directory(text.directory);
    if (template_file.empty()) side.chat_template = ChatTemplate::from_directory(text.directory);
  } else if (text.kind == ModelSource::Kind::kEmbedded) {
    side.tokenizer = Tokenizer::from_json(text.read_text("tokenizer.json"),
                                          text.read_text("tokenizer_config.json"));
    if (template_file.empty())
      side.chat_template = ChatTemplate::from_source(text.read_text("chat_template.jinja"),
                                                     text.read_text("tokenizer_config.json"));
  }
  if (!template_file.empty()) {
    require(is_there(template_file), ErrorCode::kInvalidArgument, "chat-template: {}: no such file",
            template_file);
    const std::string config = text.kind == ModelSource::Kind::kDirectory
                                   ? read_tokenizer_config(text.directory)
                                   : text.read_text("tokenizer_config.json");
    side.chat_template =
        ChatTemplate::from_source(read_text_file(template_file, kMaxTextBytes), config);
  }
  return side;
}

ModelDescription read_description(const ModelSource& source) {
  ModelDescription description{.generation = Json::object()};
  const std::string generation = source.read_text("generation_config.json");
  const std::string generation_path = source.path_of("generation_config.json");
  if (source.kind == ModelSource::Kind::kDirectory)
    description.config = read_model_config(source.directory);
  else
    description.config =
        parse_model_config(source.read_text("config.json"), source.path_of("config.json"),
                           generation, generation_path);
  if (!generation.empty()) description.generation = parse_json(generation, generation_path);
  return description;
}

std::shared_ptr<const WeightStore> open_weights(const ModelSource& source,
                                                const ModelConfig& config,
                                                const std::string& load_format, uint64_t seed) {
  if (load_format == "dummy" || source.kind == ModelSource::Kind::kShape)
    return WeightStore::dummy(config.checkpoint_dtype, seed);
  if (source.kind == ModelSource::Kind::kEmbedded)
    return WeightStore::from_memory(embedded_file("model.safetensors"),
                                    source.path_of("model.safetensors"));
  return WeightStore::open(source.directory);
}

int64_t context_length(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  const auto scaled = [&](int64_t length) {
    return static_cast<int64_t>(std::llround(static_cast<double>(length) * rope.factor));
  };
  switch (rope.type) {
    case RopeType::kLinear:
    case RopeType::kDynamic:
      return scaled(config.max_position_embeddings);
    case RopeType::kYarn:
      // max_position_embeddings holds the stretched length in some checkpoints, the trained one in
      // others.
      return std::max(config.max_position_embeddings,
                      scaled(rope.original_max_position > 0 ? rope.original_max_position
                                                            : config.max_position_embeddings));
    case RopeType::kDefault:
    case RopeType::kLlama3:
      break;
  }
  return config.max_position_embeddings;
}

}  // namespace miniinfer

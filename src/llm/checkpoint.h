#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "miniinfer/llm.h"
#include "models/model_config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "weights/weight_store.h"

namespace miniinfer {

// Where a model comes from: a Hugging Face directory, the binary itself, or a well-known shape
// without weights.
struct ModelSource {
  enum class Kind : uint8_t { kDirectory, kEmbedded, kShape };
  Kind kind = Kind::kEmbedded;
  std::string name;                 // for messages and listings
  std::filesystem::path directory;  // kDirectory
  std::string config_json;          // kShape
  // A context that the model must take even if its positions were not made for it: for measuring
  // speed.
  int64_t min_context = 0;

  // Empty, or the embedded model's name where no directory has it: the embedded model. Throws Error
  // invalid_argument (param "model") when there is no such directory.
  static ModelSource from_name(const std::string& model);
  // A shape of models/shapes.h, with dummy weights. Throws Error invalid_argument (param "shape").
  static ModelSource from_shape(const std::string& shape);

  // The text of a file of the model; empty when it has none.
  std::string read_text(const std::string& file) const;
  // The size of a file; 0 when the model has none that can be read.
  size_t size_of(const std::string& file) const;
  // "DIR/config.json", for messages.
  std::string path_of(const std::string& file) const;
};

// The tokenizer and template of a model, either of which may be missing.
struct TextSide {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;
};

// `tokenizer_directory` and `template_file` replace the model's own where they are not empty.
TextSide load_text_side(const ModelSource& source, const std::string& tokenizer_directory = {},
                        const std::string& template_file = {});

// config.json and generation_config.json, read.
struct ModelDescription {
  ModelConfig config;
  Json generation;  // an object, empty without a file
};
ModelDescription read_description(const ModelSource& source);

// The checkpoint's tensors, mapped; dummy ones for a shape or `load_format` "dummy".
std::shared_ptr<const WeightStore> open_weights(const ModelSource& source,
                                                const ModelConfig& config,
                                                const std::string& load_format, uint64_t seed);

// Tokens that the position encoding is made for: max_position_embeddings, or more where the RoPE
// type stretches it.
int64_t context_length(const ModelConfig& config);

}  // namespace miniinfer

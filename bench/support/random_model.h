// SPDX-License-Identifier: Apache-2.0
// Checkpoints with random weights for the benches. The small ones are written as they are; those of real size are
// files with holes, whose weights are drawn where they are used: 14 GB are neither written nor read.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/philox.h"
#include "families/family.h"
#include "input/image.h"
#include "model/load.h"
#include "support/clip.h"

namespace vpref::bench {

// A small tower before a decoder of any size, with heads of `head_dim`.
inline std::string small_config(int hidden, int mlp, int layers, int head_dim) {
  return cat(
      R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": 31999,
     "image_seq_length": 256,
  "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
     "tie_word_embeddings": false,
  "text_config": {"model_type": "llama", "vocab_size": 32000, "hidden_size": )",
      hidden, R"(, "intermediate_size": )", mlp, R"(, "num_hidden_layers": )", layers, R"(, "num_attention_heads": )",
      hidden / head_dim, R"(, "num_key_value_heads": )", hidden / head_dim, R"(, "head_dim": )", head_dim,
      R"(, "max_position_embeddings": 2048, "rms_norm_eps": 1e-05, "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false, "rope_theta": 10000.0},
  "vision_config": {"model_type": "clip_vision_model", "hidden_size": 512, "intermediate_size": 2048,
     "num_hidden_layers": 7, "num_attention_heads": 8,
    "image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05, "projection_dim": 512}
})");
}

inline std::string large_config(int hidden, int mlp, int layers, int heads) {
  return cat(
      R"({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": 32000,
     "image_seq_length": 576,
  "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
     "tie_word_embeddings": false,
  "text_config": {"model_type": "llama", "vocab_size": 32064, "hidden_size": )",
      hidden, R"(, "intermediate_size": )", mlp, R"(, "num_hidden_layers": )", layers, R"(, "num_attention_heads": )",
      heads, R"(, "num_key_value_heads": )", heads, R"(, "max_position_embeddings": 4096, "rms_norm_eps": 1e-05,
    "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false, "rope_theta": 10000.0},
  "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
     "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 336, "patch_size": 14, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05, "projection_dim": 768}
})");
}

// Two layers of everything, for trying the benches themselves.
constexpr const char* kTiny = R"({
  "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": 500,
     "image_seq_length": 4,
  "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
     "tie_word_embeddings": false,
  "text_config": {"model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
     "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256,
     "rms_norm_eps": 1e-05, "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false, "rope_theta": 10000.0},
  "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64,
     "num_hidden_layers": 3,
    "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "hidden_act": "quick_gelu",
     "layer_norm_eps": 1e-05, "projection_dim": 32}
})";

// Qwen2.5-VL with its heads, windows and merger at a width that fits a small machine; a picture of 448 x 448 is 256
// rows.
constexpr const char* kQwen = R"({
  "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "image_token_id": 31998,
     "video_token_id": 31997, "vision_start_token_id": 31996, "vision_end_token_id": 31995,
  "vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8,
     "num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": 4096, "rms_norm_eps": 1e-06,
     "hidden_act": "silu", "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
     "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": true, "use_sliding_window": false,
  "vision_config": {"depth": 8, "hidden_size": 640, "intermediate_size": 1712, "num_heads": 8,
     "out_hidden_size": 1024, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
     "window_size": 112, "fullatt_block_indexes": [3, 7]}
})";

// The published sizes of Qwen2.5-VL-7B; a picture of 672 x 672 is 576 rows, as LLaVA's.
constexpr const char* kQwen7b = R"({
  "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "image_token_id": 151655,
     "video_token_id": 151656, "vision_start_token_id": 151652, "vision_end_token_id": 151653,
  "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
     "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 128000, "rms_norm_eps": 1e-06,
     "hidden_act": "silu", "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
     "bos_token_id": 151643, "eos_token_id": 151645, "tie_word_embeddings": false, "use_sliding_window": false,
  "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
     "out_hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
     "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]}
})";

// What the tasks need to know of a model; hf_baseline.py and bench/gpu_baseline.py use the same numbers.
struct Shape {
  std::string name, config;
  bool holes;              // real size
  int32_t prompt, answer;  // tokens, the image's rows among the prompt's
  int32_t image_rows, image_token, side;
  int32_t words = 30000;  // ids of texts: 100 and more, so many different ones
  int64_t lora_r = 1024;
  int32_t pairs = 16;  // of a DPO step
};

inline Shape shape_named(const std::string& name) {
  if (name == "tiny") return {name, kTiny, true, 12, 4, 4, 500, 28, 400, 8, 2};
  if (name == "157m") return {name, small_config(768, 2048, 12, 64), false, 320, 16, 256, 31999, 224, 30000, 64, 8};
  if (name == "7b-2-layers")
    return {name, small_config(4096, 11008, 2, 128), false, 320, 16, 256, 31999, 224, 30000, 64, 8};
  if (name == "7b") return {name, large_config(4096, 11008, 32, 32), true, 630, 60, 576, 32000, 336};
  if (name == "13b") return {name, large_config(5120, 13824, 40, 40), true, 630, 60, 576, 32000, 336};
  // Two of its layers are enough for a profiler, which takes milliseconds a kernel.
  if (name == "7b-profile") return {name, large_config(4096, 11008, 2, 32), true, 630, 60, 576, 32000, 336};
  if (name == "qwen2.5-vl-7b") return {name, kQwen7b, true, 630, 60, 576, 151655, 672};
  if (name == "qwen2.5-vl") return {name, kQwen, false, 320, 16, 256, 31998, 448, 30000, 64, 8};
  throw Error("request",
              "shape: expected tiny, 157m, 7b-2-layers, 7b-profile, qwen2.5-vl, qwen2.5-vl-7b, 7b or 13b, got " + name);
}

// Uniform weights of variance 1 / inputs, from Philox keyed by the tensor's number.
inline void fill_uniform(std::vector<float>& x, uint64_t key, float scale) {
  for (size_t i = 0; i < x.size(); i += 4) {
    const auto w = philox4x32(key, {uint32_t(i / 4), 0, 0, 0});
    for (size_t k = 0; k < 4 && i + k < x.size(); ++k) x[i + k] = scale * (float(w[k]) * 0x1p-32f - 0.5f) * 3.4641016f;
  }
}

inline bool is_norm(const std::string& name) {
  for (const char* end : {"norm.weight", "norm1.weight", "norm2.weight", "ln_q.weight"}) {
    if (name.ends_with(end)) return true;
  }
  return false;
}

// A file whose tensors are holes.
inline void write_holes(const std::string& path, const NamedTensors& tensors) {
  const std::string header = safetensors_header(tensors);
  std::ofstream(path, std::ios::binary) << header;
  size_t bytes = header.size();
  for (const auto& [name, t] : tensors) bytes += t.bytes();
  std::filesystem::resize_file(path, bytes);
}

inline void make_checkpoint(const std::string& dir, const Shape& shape) {
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/config.json") << shape.config;
  const Json json = Json::parse(shape.config, "config");
  const ConfigReader reader(json, "config");
  const Family& family = find_family(reader);
  ModelConfig config = family.parse_config(reader);
  Weights weights;
  const FamilyTensors list = set_up(family, reader, config, weights);
  const std::string path = dir + "/model.safetensors";
  const auto name = [&](const TensorSpec& spec) {
    return list.groups[size_t(spec.group)].prefixes.front() + spec.name;
  };
  if (shape.holes) {
    NamedTensors tensors;
    for (const TensorSpec& spec : list.tensors)
      tensors.emplace_back(name(spec), Tensor(nullptr, DType::bf16, spec.stored_shape));
    return write_holes(path, tensors);
  }
  std::vector<std::vector<float>> data;
  NamedTensors tensors;
  data.reserve(list.tensors.size());
  for (const TensorSpec& spec : list.tensors) {
    if (spec.optional) continue;  // a head of its own would not be tied
    int64_t count = 1;
    for (const int64_t n : spec.stored_shape) count *= n;
    std::vector<float>& x = data.emplace_back(size_t(count));
    const bool matrix = spec.stored_shape.size() > 1;
    fill_uniform(x, data.size(), matrix ? 1.0f / std::sqrt(float(count) / float(spec.stored_shape[0])) : 0.1f);
    if (!matrix && is_norm(spec.name)) {
      for (float& v : x) v += 1;
    }
    tensors.emplace_back(name(spec), Tensor(x.data(), DType::f32, spec.stored_shape));
  }
  write_safetensors(path, tensors, {{"format", "pt"}});
}

// Random codes, and scales of weights near 0.02: what is packed from holes is zero, and a GPU is faster on zeros.
inline void randomise_packed(Context& ctx, Model& model) {
  for (DecoderLayer& layer : model.weights.layers) {
    for (Linear& linear : layer.linears) {
      PackedWeight& w = linear.packed;
      if (!w) continue;
      write_to_device(ctx, w.codes.data, w.codes.bytes(), 1, [](void* to, size_t begin, size_t bytes) {
        for (size_t i = 0; i < bytes; ++i)
          static_cast<uint8_t*>(to)[i] = uint8_t((begin + i) * 0x9E3779B97F4A7C15u >> 40);
      });
      if (w.nested()) {
        w.offset = 0.05f;  // the scale of every block, as the packed scales are zero
      } else {
        const std::vector<float> scales(size_t(w.scales.numel()), 0.0003f);
        copy_to_device(ctx, w.scales.data, scales.data(), w.scales.bytes());
      }
    }
  }
}

// Draws the weights of a checkpoint with holes on the device: matrices uniform with standard deviation 0.02, norms 1,
// biases 0.
inline void randomise(Context& ctx, Model& model) {
  check(ctx.device == Device::cuda, "request",
        "shape: a checkpoint with holes is drawn on a GPU: expected --device cuda, or --shape 157m, 7b-2-layers or "
        "qwen2.5-vl, got "
        "--device cpu");
  model.prepare(ctx);
  constexpr int64_t kBlock = int64_t(1) << 25;
  std::vector<float> values(size_t(kBlock) / 16);
  fill_uniform(values, 1, 0.02f);
  const auto block_of = [&](DType dtype) {
    Buffer block(ctx.device, size_t(kBlock) * dtype_size(dtype));
    write_to_device(ctx, block.data(), block.bytes(), 4, [&](void* to, size_t begin, size_t bytes) {
      const size_t first = begin / dtype_size(dtype), count = bytes / dtype_size(dtype);
      for (size_t i = 0; i < count; ++i) {
        const float v = values[((first + i) * 0x9E3779B97F4A7C15u >> 20) % values.size()];
        if (dtype == DType::f32)
          static_cast<float*>(to)[i] = v;
        else
          static_cast<bf16_t*>(to)[i] = to_bf16(v);
      }
    });
    return block;
  };
  const Buffer block = block_of(model.compute());
  randomise_packed(ctx, model);
  int64_t at = 0;
  for (const Model::StoredName& s : model.stored_names()) {
    if (!s.place) continue;
    const Tensor& t = *s.place;
    if (t.rank == 1) {
      const float value = is_norm(s.name) ? 1.0f : 0.0f;
      std::vector<float> f32(size_t(t.numel()), value);
      std::vector<bf16_t> bf16(size_t(t.numel()), to_bf16(value));
      copy_to_device(ctx, t.data, t.dtype == DType::f32 ? static_cast<const void*>(f32.data()) : bf16.data(),
                     t.bytes());
      continue;
    }
    const size_t size = dtype_size(t.dtype);
    for (int64_t done = 0; done < t.numel();) {
      at = (at + 1048583) % (kBlock / 2);
      const int64_t count = std::min(t.numel() - done, kBlock - at);
      copy_on_device(ctx, static_cast<char*>(t.data) + size_t(done) * size,
                     static_cast<const char*>(block.data()) + size_t(at) * size, size_t(count) * size);
      done += count;
    }
  }
  synchronize(ctx);
}

// The same ids and pixels as the baselines'.
inline std::vector<int32_t> prompt_ids(const Shape& s, int32_t i) {
  std::vector<int32_t> ids = {1};
  ids.insert(ids.end(), size_t(s.image_rows), s.image_token);
  while (int32_t(ids.size()) < s.prompt) ids.push_back(100 + (i * 997 + int32_t(ids.size()) * 31) % s.words);
  return ids;
}
inline std::vector<int32_t> answer_ids(const Shape& s, int32_t i) {
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < s.answer; ++t) ids.push_back(100 + (i * 131 + t * 17) % s.words);
  return ids;
}
inline Image picture(const Shape& s, int32_t i) {
  std::vector<uint8_t> pixels(size_t(s.side) * size_t(s.side) * 3);
  for (size_t k = 0; k < pixels.size(); ++k) pixels[k] = uint8_t((k * 7 + size_t(i) * 13) % 251);
  return {s.side, s.side, {{s.side, s.side, std::move(pixels)}}, {}};
}

// Weights of one pass through the decoder, and of its head; multiplications and additions of one image.
struct Sizes {
  double linears, head, image, kv_row;  // kv_row in elements
  double lora(double r) const { return r * lora_width; }
  double lora_width;  // sum of inputs + outputs over the adapted linears
};
inline Sizes sizes_of(const ModelConfig& c, const Shape& shape) {
  const double d = c.text.hidden_size, f = c.text.intermediate_size,
               kv = double(c.text.num_key_value_heads) * c.text.head_dim,
               q = double(c.text.num_attention_heads) * c.text.head_dim;
  const Json json = Json::parse(shape.config, "config");
  const ConfigReader vision = ConfigReader(json, "config").object("vision_config");
  const auto number = [&](const char* key) { return double(vision.integer(key, 0, 0, INT32_MAX)); };
  const double l = c.text.num_hidden_layers, v = number("hidden_size"), m = number("intermediate_size"),
               side = double(shape.side) / number("patch_size"), qwen = number("depth");
  const double tower = qwen > 0 ? 2 * side * side * qwen * (4 * v * v + 3 * v * m)
                                : 2 * (side * side + 1) * (number("num_hidden_layers") - 1) * (4 * v * v + 2 * v * m);
  return {.linears = l * (2 * d * q + 2 * d * kv + 3 * d * f),
          .head = d * c.text.vocab_size,
          .image = shape.image_rows > 0 ? tower : 0,
          .kv_row = 2 * l * kv,
          .lora_width = l * (2 * (d + q) + 2 * (d + kv) + 3 * (d + f))};
}

// `--name value` anywhere in argv; takes it out.
inline std::string flag(std::vector<std::string>& args, const std::string& name, std::string fallback) {
  const auto found = std::find(args.begin(), args.end(), name);
  if (found == args.end() || found + 1 == args.end()) return fallback;
  fallback = found[1];
  args.erase(found, found + 2);
  return fallback;
}

}  // namespace vpref::bench

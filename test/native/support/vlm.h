// SPDX-License-Identifier: Apache-2.0
// Prompts with pictures and what transformers computes on them: fixtures/families, and its own-vlm
// (scripts/goldens/qwen_vl.py), own-tiles and own-native (scripts/goldens/{tile,native}_families.py).
#pragma once
#include <string>
#include <vector>

#include "infer/engine.h"
#include "model/json.h"
#include "support/golden.h"

namespace vpref::golden {

inline std::vector<int32_t> integers(const Json& list) {
  std::vector<int32_t> out;
  for (const Json& v : list.array()) out.push_back(int32_t(v.integer()));
  return out;
}

// [n, 3, H, W] as crops of [H, W, 3]; [H, W, 3] is one.
inline std::vector<Crop> crops_of(const Tensor& t) {
  if (t.rank == 3) {
    const uint8_t* pixels = static_cast<const uint8_t*>(t.data);
    return {{int32_t(t.dim(0)), int32_t(t.dim(1)), {pixels, pixels + t.numel()}}};
  }
  const size_t area = size_t(t.dim(2) * t.dim(3));
  std::vector<Crop> crops;
  for (int64_t n = 0; n < t.dim(0); ++n) {
    const uint8_t* planes = static_cast<const uint8_t*>(t.data) + size_t(n) * 3 * area;
    Crop crop{int32_t(t.dim(2)), int32_t(t.dim(3)), std::vector<uint8_t>(3 * area)};
    for (size_t i = 0; i < area; ++i) {
      for (size_t c = 0; c < 3; ++c) crop.pixels[3 * i + c] = planes[c * area + i];
    }
    crops.push_back(std::move(crop));
  }
  return crops;
}

inline constexpr Normalisation kHalfNormalisation = {1.0 / 255.0, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};

inline const char* const kOwnVlm[] = {"own-vlm/qwen2_vl",
                                      "own-vlm/qwen2_5_vl",
                                      "own-vlm/qwen3_vl",
                                      "own-tiles/smolvlm-one",
                                      "own-tiles/smolvlm-whole",
                                      "own-tiles/idefics3-bos",
                                      "own-tiles/idefics3-odd",
                                      "own-tiles/llava_next-vicuna",
                                      "own-tiles/llava_next-mistral",
                                      "own-native/qwen2_vl-small",
                                      "own-native/qwen2_5_vl-windows",
                                      "own-native/qwen3_vl-planes"};

// Its name as a test's: the family and the variant.
inline std::string own_vlm_name(const char* path) {
  std::string name = path;
  name = name.substr(name.find('/') + 1);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

struct OwnVlm {
  explicit OwnVlm(const std::string& path) : dir(fixture("families/" + path)) {}

  // own-vlm has no processor, no logits and one adapter.
  bool is_whole() const { return dir.find("own-vlm") == std::string::npos; }
  // As the processor says; CLIP's is the default.
  Normalisation normalisation() const {
    const std::string file = dir + "/ckpt/preprocessor_config.json";
    return is_whole() && read_json_file(file).find("image_mean") ? kHalfNormalisation : kClipNormalisation;
  }
  // On every linear layer of tower, connector and decoder.
  std::string adapter() const { return dir + (is_whole() ? "/adapter-all" : "/adapter"); }
  std::vector<Image> images(const Json& row) const {
    const Json* sizes = row.find("image_sizes");
    const Json* list = is_whole() ? row.find("images") : row.find("image_grid_thw");
    std::vector<Image> out(list->array().size());
    for (size_t i = 0; i < out.size(); ++i) {
      out[i].crops = crops_of(tensors.view(cat("pixels_u8/", row.find("id")->string(), "/", i)));
      if (!sizes) continue;
      const std::vector<int32_t> size = integers(sizes->array()[i]);
      out[i].height = size[0];
      out[i].width = size[1];
    }
    return out;
  }
  EngineOptions options() const {
    EngineOptions o;
    o.model_dir = dir + "/ckpt";
    o.dtype = DType::f32;
    o.threads = 1;
    o.normalisation = normalisation();
    return o;
  }
  std::vector<ScoreRequest> requests(size_t most = SIZE_MAX) const {
    std::vector<ScoreRequest> all;
    for (const Json& row : rows.array()) {
      if (all.size() == most) break;
      ScoreRequest& r = all.emplace_back();
      r.images = images(row);
      r.segments = {{-1, integers(*row.find("prompt_ids")), {}, false}};
      for (size_t i = 0; i < r.images.size(); ++i) r.segments[0].images.push_back(int32_t(i));
      for (const Json& answer : row.find("answers")->array())
        r.segments.push_back({0, integers(*answer.find("ids")), {}, true});
    }
    return all;
  }
  // All prompts, or the first ones, in one call; key: "logps" or "adapter_logps".
  void expect_logps(const EngineOptions& o, const char* key, float tolerance, size_t most = SIZE_MAX) const {
    Engine engine(o);
    const std::vector<ScoreResult> results = score(engine, requests(most));
    for (size_t i = 0; i < results.size(); ++i) {
      const std::vector<Json>& answers = rows.array()[i].find("answers")->array();
      for (size_t a = 0; a < answers.size(); ++a) {
        std::vector<float> expected;
        for (const Json& v : answers[a].find(key)->array()) expected.push_back(float(v.number()));
        expect_close(results[i].segments[a].per_token_logps, expected, tolerance, cat("row ", i, " answer ", a));
      }
    }
  }

  const std::string dir;
  const Safetensors tensors{dir + "/golden.safetensors"};
  const Json rows = read_json_file(dir + "/golden.json");
};

}  // namespace vpref::golden

// SPDX-License-Identifier: Apache-2.0
// A prompt on its way into the KV slab: its rows, the images among them, and the regions that hold its keys and values.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "infer/forward.h"

namespace vpref {

// Token ids with every image token replaced by -1, and where each image's rows are. Throws Error{"request"} when image
// tokens and images disagree, or an id is outside the vocabulary.
struct PromptRows {
  struct ImageRun {
    int32_t row, count;
    int32_t first;  // row of the image that stands at `row`
    std::shared_ptr<ImageRows> image;
  };
  std::vector<int32_t> ids;
  std::vector<ImageRun> images;
  std::vector<uint64_t> keys;  // one a row: equal keys are equal rows
};
PromptRows make_prompt_rows(const ModelConfig& config, std::span<const int32_t> token_ids,
                            std::span<const std::shared_ptr<ImageRows>> images, const char* what);
// A response: every id is a token, also one that spells an image (a model may write that by itself).
PromptRows make_response_rows(std::span<const int32_t> token_ids);
void check_response(const ModelConfig& config, std::span<const int32_t> token_ids, const char* what);
// The same checks with the images' layouts alone.
void check_prompt(const ModelConfig& config, std::span<const int32_t> token_ids, std::span<const ImageLayout> images,
                  const char* what);

// Leading rows that two prompts have in common.
int32_t common_prefix(std::span<const uint64_t> a, std::span<const uint64_t> b);

// Adds the parts of `rows`' images that fall into rows [first, first + count), which stand at step row `at`.
void add_image_pieces(const PromptRows& rows, int32_t first, int32_t count, int32_t at, std::vector<ImagePiece>& out);

}  // namespace vpref

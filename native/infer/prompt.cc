// SPDX-License-Identifier: Apache-2.0
#include "infer/prompt.h"

#include <algorithm>

#include "core/error.h"

namespace vpref {

void check_response(const ModelConfig& config, std::span<const int32_t> ids, const char* what) {
  check(!ids.empty(), "request", what, ": expected token ids, got none");
  for (const int32_t id : ids) {
    check(id >= 0 && id < config.text.vocab_size, "request", what, ": token id: expected 0..",
          config.text.vocab_size - 1, ", got ", id);
  }
}

PromptRows make_response_rows(std::span<const int32_t> token_ids) {
  PromptRows p;
  p.ids.assign(token_ids.begin(), token_ids.end());
  p.keys.assign(token_ids.begin(), token_ids.end());
  return p;
}

int32_t count_images(const ModelConfig& config, std::span<const int32_t> ids, const char* what) {
  const int32_t rows = config.num_image_rows();
  int32_t count = 0;
  check_response(config, ids, what);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!config.has_vision || ids[i] != config.image_token_id) continue;
    size_t end = i;
    while (end < ids.size() && end < i + size_t(rows) && ids[end] == config.image_token_id) ++end;
    check(end == i + size_t(rows), "request", what, ": image tokens: expected ", rows, " in a row for each image, got ",
          end - i);
    ++count;
    i = end - 1;
  }
  return count;
}

PromptRows make_prompt_rows(const ModelConfig& config, std::span<const int32_t> token_ids,
                            std::span<const std::shared_ptr<ImageRows>> images, const char* what) {
  const int32_t found = count_images(config, token_ids, what), rows = config.num_image_rows();
  check(size_t(found) == images.size(), "request", what, ": images: expected ", found, " for its image tokens, got ",
        images.size());
  PromptRows p;
  size_t image = 0;
  for (size_t i = 0; i < token_ids.size();) {
    if (!config.has_vision || token_ids[i] != config.image_token_id) {
      p.ids.push_back(token_ids[i]);
      p.keys.push_back(uint64_t(token_ids[i]));
      ++i;
      continue;
    }
    p.images.push_back({int32_t(i), images[image++]});
    for (int32_t r = 0; r < rows; ++r) {
      p.ids.push_back(-1);
      p.keys.push_back(uint64_t(1) << 63 | p.images.back().image->uid << 24 | uint64_t(r));
    }
    i += size_t(rows);
  }
  return p;
}

int32_t common_prefix(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  return int32_t(std::mismatch(a.begin(), a.begin() + std::ptrdiff_t(std::min(a.size(), b.size())), b.begin()).first -
                 a.begin());
}

void add_image_pieces(const PromptRows& rows, int32_t first, int32_t count, int32_t at, int32_t num_image_rows,
                      std::vector<ImagePiece>& out) {
  for (const PromptRows::ImageRun& run : rows.images) {
    const int32_t begin = std::max(run.row, first), end = std::min(run.row + num_image_rows, first + count);
    if (begin < end) out.push_back({at + begin - first, end - begin, begin - run.row, run.image.get()});
  }
}

}  // namespace vpref

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

namespace {

// Calls found(row, image, first, count) for each run of image tokens, which must be the images' runs in order.
template <class Found>
void for_each_run(const ModelConfig& config, std::span<const int32_t> ids, std::span<const ImageLayout* const> images,
                  const char* what, Found found) {
  const auto is_image = [&](size_t i) {
    return i < ids.size() && config.has_vision && ids[i] == config.image_token_id;
  };
  size_t row = 0;
  for (size_t image = 0; image < images.size(); ++image) {
    int32_t first = 0;
    for (const int32_t run : images[image]->runs) {
      while (row < ids.size() && !is_image(row)) ++row;
      int32_t count = 0;
      while (count < run && is_image(row + size_t(count))) ++count;
      check(count == run, "request", what, ": images: expected ", run, " image tokens in a row for image ", image + 1,
            " of ", images.size(), ", got ", count);
      found(int32_t(row), image, first, run);
      row += size_t(run);
      first += run;
    }
  }
  while (row < ids.size() && !is_image(row)) ++row;
  check(row == ids.size(), "request", what, ": images: expected image tokens for ", images.size(),
        ", got more of them (at ", row, ")");
}

}  // namespace

void check_prompt(const ModelConfig& config, std::span<const int32_t> ids, std::span<const ImageLayout> images,
                  const char* what) {
  check_response(config, ids, what);
  std::vector<const ImageLayout*> layouts;
  for (const ImageLayout& layout : images) layouts.push_back(&layout);
  for_each_run(config, ids, layouts, what, [](int32_t, size_t, int32_t, int32_t) {});
}

PromptRows make_prompt_rows(const ModelConfig& config, std::span<const int32_t> token_ids,
                            std::span<const std::shared_ptr<ImageRows>> images, const char* what) {
  PromptRows p = make_response_rows(token_ids);
  std::vector<const ImageLayout*> layouts;
  for (const auto& image : images) layouts.push_back(&image->layout);
  for_each_run(config, token_ids, layouts, what, [&](int32_t row, size_t image, int32_t first, int32_t count) {
    p.images.push_back({row, count, first, images[image]});
    for (int32_t r = 0; r < count; ++r) {
      p.ids[size_t(row + r)] = -1;
      p.keys[size_t(row + r)] = uint64_t(1) << 63 | images[image]->uid << 24 | uint64_t(first + r);
    }
  });
  return p;
}

int32_t common_prefix(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  return int32_t(std::mismatch(a.begin(), a.begin() + std::ptrdiff_t(std::min(a.size(), b.size())), b.begin()).first -
                 a.begin());
}

void add_image_pieces(const PromptRows& rows, int32_t first, int32_t count, int32_t at, std::vector<ImagePiece>& out) {
  for (const PromptRows::ImageRun& run : rows.images) {
    const int32_t begin = std::max(run.row, first), end = std::min(run.row + run.count, first + count);
    if (begin < end) out.push_back({at + begin - first, end - begin, run.first + begin - run.row, run.image.get()});
  }
}

}  // namespace vpref

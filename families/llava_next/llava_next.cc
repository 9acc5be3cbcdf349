// SPDX-License-Identifier: Apache-2.0
// LLaVA-NeXT (1.6): LLaVA's tower and projector on a base crop and a grid of crops, at the best of the model's
// resolutions. The grid's features form one picture, cut to the part that the image covers, with a learned newline row
// after each line.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/memory.h"
#include "families/llama/llama.h"
#include "families/llava/llava.h"
#include "families/mistral/mistral.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace vpref {

namespace {

struct Grid {
  int32_t height = 0, width = 0;  // in crops
};

// Lines [top, bottom) and columns [left, right) of the grid's features that the image covers.
struct Covered {
  int32_t top, bottom, left, right;
  int32_t num_rows() const { return (bottom - top) * (right - left + 1); }
};

class LlavaNextVision : public LlavaVision {
 public:
  LlavaNextVision(const LlavaConfig& config, std::vector<CropSize> resolutions)
      : LlavaVision(config), resolutions_(std::move(resolutions)) {}

  ImageLayout layout(const ImageShape& image) const override {
    const Grid grid = checked_grid(image);
    const int32_t rows = int32_t(crop_features()) + covered(image, grid).num_rows();
    return {.runs = {rows}, .position_span = rows};
  }
  int64_t num_features(const ImageShape& image) const override {
    checked_grid(image);
    return int64_t(image.crops.size()) * crop_features();
  }
  // A long, narrow image covers few lines of its grid; the base crop is whole.
  int64_t max_features_per_row() const override { return 4; }

  void list_tensors(FamilyTensors& out) override {
    LlavaVision::list_tensors(out);
    const int group = out.add_group({{"", "model."}, "model.", {}});
    out.add(&image_newline_, {config_.text_hidden_size}, group, "image_newline");
  }
  void connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images, const Tensor& rows,
               std::vector<Tensor>* kept, Arena& arena) const override;
  void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                        const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                        Arena& scratch) const override;

 private:
  int32_t side() const { return config_.image_size / config_.patch_size; }
  Grid best_grid(const ImageShape& image) const;
  Grid checked_grid(const ImageShape& image) const;
  Covered covered(const ImageShape& image, const Grid& grid) const;
  std::vector<int32_t> feature_of_row(std::span<const ImageShape> images) const;

  std::vector<CropSize> resolutions_;  // image_grid_pinpoints
  Tensor image_newline_;               // [D]
};

// The resolution that keeps most of the image's pixels, then wastes fewest of its own, then comes first. Source:
// transformers image_processing_utils select_best_resolution.
Grid LlavaNextVision::best_grid(const ImageShape& image) const {
  CropSize best;
  int64_t best_kept = -1, best_waste = INT64_MAX;
  for (const CropSize& r : resolutions_) {
    const double scale = std::min(double(r.width) / image.width, double(r.height) / image.height);
    const int64_t kept =
        std::min(int64_t(image.width * scale) * int64_t(image.height * scale), int64_t(image.width) * image.height);
    const int64_t waste = int64_t(r.width) * r.height - kept;
    if (kept < best_kept || (kept == best_kept && waste >= best_waste)) continue;
    best_kept = kept;
    best_waste = waste;
    best = r;
  }
  return {best.height / config_.image_size, best.width / config_.image_size};
}

Grid LlavaNextVision::checked_grid(const ImageShape& image) const {
  check(image.height > 0 && image.width > 0, "request", "image: expected sides above 0, got ", image.width, " x ",
        image.height);
  const Grid grid = best_grid(image);
  check(int64_t(image.crops.size()) == 1 + int64_t(grid.height) * grid.width, "request", "image: expected ",
        1 + grid.height * grid.width, " crops for ", image.width, " x ", image.height, " pixels, got ",
        image.crops.size());
  for (const CropSize& crop : image.crops) check_crop(crop);
  return grid;
}

// Source: transformers modeling_llava_next unpad_image.
Covered LlavaNextVision::covered(const ImageShape& image, const Grid& grid) const {
  const int32_t height = grid.height * side(), width = grid.width * side();
  const auto cut = [](int32_t sides, double scale) { return int32_t(std::nearbyint(sides * scale * 1e7) / 1e7); };
  if (double(image.width) / image.height > double(width) / height) {
    const int32_t margin = (height - cut(image.height, double(width) / image.width)) / 2;
    return {margin, height - margin, 0, width};
  }
  const int32_t margin = (width - cut(image.width, double(height) / image.height)) / 2;
  return {0, height, margin, width - margin};
}

// The projected feature of each image row; -1: the newline.
std::vector<int32_t> LlavaNextVision::feature_of_row(std::span<const ImageShape> images) const {
  std::vector<int32_t> index;
  int32_t first = 0;
  const int32_t each = int32_t(crop_features()), n = side();
  for (const ImageShape& image : images) {
    const Grid grid = best_grid(image);
    const Covered c = covered(image, grid);
    for (int32_t i = 0; i < each; ++i) index.push_back(first + i);
    for (int32_t y = c.top; y < c.bottom; ++y) {
      for (int32_t x = c.left; x < c.right; ++x) {
        const int32_t crop = 1 + y / n * grid.width + x / n;
        index.push_back(first + crop * each + y % n * n + x % n);
      }
      index.push_back(-1);
    }
    first += int32_t(image.crops.size()) * each;
  }
  return index;
}

// kept: the projector's two tensors, then the feature index of each row.
void LlavaNextVision::connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                              const Tensor& rows, std::vector<Tensor>* kept, Arena& arena) const {
  std::vector<int32_t> index = feature_of_row(images);
  const auto upload = [&] {
    // There are at most as many rows as features, plus one newline per line: room for any image with that many
    // features.
    const Tensor t = arena.tensor(DType::i32, {2 * features.dim(0)}).rows(0, rows.dim(0));
    copy_to_device(ctx, t.data, index.data(), t.bytes());
    return t;
  };
  if (kept) {
    *kept = make_kept(features, arena);
    kept->push_back(upload());
  }
  const size_t mark = arena.mark();
  const Tensor feature = kept ? kept->back() : upload();
  for (int32_t& i : index) i = i < 0 ? 0 : -1;
  const Tensor newline = upload();
  const Tensor projected = arena.tensor(features.dtype, {features.dim(0), config_.text_hidden_size});
  project(ctx, features, projected, kept, arena);
  gather_rows(ctx, projected, feature, rows);
  gather_rows(ctx, image_newline_.reshaped({1, config_.text_hidden_size}), newline, rows);
  arena.release(mark);
}

// Features outside the image have no gradient; the newline is not trained.
void LlavaNextVision::connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                                       const std::vector<Tensor>& kept, const Tensor& drows,
                                       std::span<const Tensor> grads, Arena& scratch) const {
  const size_t mark = scratch.mark();
  const Tensor dprojected = scratch.tensor(drows.dtype, {features.dim(0), config_.text_hidden_size});
  fill(ctx, 0, dprojected);
  scatter_rows(ctx, drows, kept.back(), dprojected);
  LlavaVision::connect_backward(ctx, features, images, kept, dprojected, grads, scratch);
  scratch.release(mark);
}

std::vector<CropSize> parse_resolutions(const ConfigReader& config, int32_t image_size) {
  constexpr const char* kKey = "image_grid_pinpoints";
  const std::string expected = cat("pairs [height, width] of multiples of ", image_size);
  if (!config.has(kKey)) {  // LlavaNextConfig's default
    if (image_size != 336) config.fail(kKey, expected);
    return {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};
  }
  const Json* list = config.raw(kKey);
  if (list->kind() != Json::Kind::array || list->array().empty()) config.fail(kKey, expected);
  std::vector<CropSize> out;
  for (const Json& pair : list->array()) {
    if (pair.kind() != Json::Kind::array || pair.array().size() != 2) config.fail(kKey, expected);
    int32_t sides[2];
    for (size_t i = 0; i < 2; ++i) {
      const Json& side = pair.array()[i];
      if (!side.is_number() || side.number() < image_size || side.number() > (1 << 16) ||
          std::fmod(side.number(), image_size) != 0)
        config.fail(kKey, expected);
      sides[i] = int32_t(side.number());
    }
    out.push_back({sides[0], sides[1]});
  }
  return out;
}

TextConfig parse_decoder(const ConfigReader& text) {
  const std::string type = text.string("model_type", "llama");
  if (type == "llama") return parse_llama_text(text);
  if (type != "mistral") text.fail("model_type", "\"llama\" or \"mistral\"");
  return parse_mistral_text(text);
}

ModelConfig parse_config(const ConfigReader& config) {
  ModelConfig c;
  c.model_type = "llava_next";
  const ConfigReader text = config.object("text_config");
  c.text = parse_decoder(text);
  c.text.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  c.modules = {"model.language_model.", {"multi_modal_projector"}};
  read_vision_model(config, text, {.eos = {2}, .bos = 1, .image = 32000}, c);
  return c;
}

std::unique_ptr<Vision> make_vision(const ConfigReader& config, const ModelConfig& parsed) {
  const LlavaConfig c = parse_llava_vision(config, parsed);
  if (!c.drop_class_row) config.fail("vision_feature_select_strategy", "\"default\"");
  if (c.image_size % c.patch_size != 0)
    config.object("vision_config").fail("patch_size", cat("a divisor of image_size ", c.image_size));
  return std::make_unique<LlavaNextVision>(c, parse_resolutions(config, c.image_size));
}

FamilyTensors list_tensors(const ModelConfig& config, Weights& weights) {
  FamilyTensors out;
  list_llava_decoder(config, weights, out);
  return out;
}

}  // namespace

extern const Family llava_next_family;
const Family llava_next_family = {"llava_next", parse_config, make_vision, list_tensors};

}  // namespace vpref

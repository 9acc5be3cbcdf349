// SPDX-License-Identifier: Apache-2.0
// Families against transformers on the tiny checkpoints of fixtures/families: layouts, rows of images,
// log-probabilities.
// Covers families/smolvlm/smolvlm.cc families/llava_next/llava_next.cc families/qwen2_vl/qwen2_vl.cc
// families/qwen2_vl/vision.cc families/qwen2_5_vl/qwen2_5_vl.cc families/qwen3_vl/qwen3_vl.cc
// families/qwen3_vl/vision.cc
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "infer/engine.h"
#include "infer/forward.h"
#include "model/image_encoder.h"
#include "model/json.h"
#include "model/merge.h"
#include "model/tree.h"
#include "support/vlm.h"

namespace vpref {
namespace {

using golden::crops_of;
using golden::integers;

// One image's crops; the tower's sides.
struct Prompt {
  std::string id;
  Image image;
  std::vector<int32_t> prompt, answer;
  std::vector<float> logps;  // of the answer
};

struct TinyFamily {
  std::string name;
  Normalisation normalisation;
  std::vector<std::string> ids;  // prompts with one image whose crops are in the golden
};

constexpr Normalisation kHalf = golden::kHalfNormalisation;

class Families : public testing::TestWithParam<TinyFamily> {
 protected:
  std::string dir = golden::fixture("families/" + GetParam().name);
  Safetensors tensors{dir + "/golden.safetensors"};
  Json rows = read_json_file(dir + "/golden.json");

  Prompt prompt(const std::string& id) const {
    const auto row = std::find_if(rows.array().begin(), rows.array().end(),
                                  [&](const Json& r) { return r.find("id")->string() == id; });
    Prompt p{.id = id};
    p.image.crops = crops_of(tensors.view("pixels_u8/" + id));
    if (const Json* sizes = row->find("image_sizes")) {
      const std::vector<int32_t> size = integers(sizes->array()[0]);
      p.image.height = size[0];
      p.image.width = size[1];
    }
    p.prompt = integers(*row->find("prompt_ids"));
    const Json& answer = row->find("answers")->array()[0];
    p.answer = integers(*answer.find("ids"));
    for (const Json& v : answer.find("logps")->array()) p.logps.push_back(float(v.number()));
    return p;
  }
  EngineOptions options(DType dtype = DType::f32) const {
    EngineOptions o = golden::options("families/" + GetParam().name + "/ckpt", dtype);
    o.normalisation = GetParam().normalisation;
    return o;
  }
};

TEST_P(Families, ImageRowsEqualTransformers) {
  Context ctx(Device::cpu, 1);
  Model model(dir + "/ckpt", Device::cpu, DType::f32, GetParam().normalisation);
  model.prepare(ctx);
  ImageEncoder encoder(model);
  std::vector<Image> images;
  std::vector<float> expected;
  for (const std::string& id : GetParam().ids) {
    const Tensor features = tensors.view("features/" + id);
    images.push_back(prompt(id).image);
    EXPECT_EQ(model.vision().layout(image_shape(images.back())).num_rows(), features.dim(0)) << id;
    expected.insert(expected.end(), features.as<float>(), features.as<float>() + features.numel());
  }
  // All in one call, whatever their sizes.
  std::vector<const Image*> pointers;
  for (const Image& image : images) pointers.push_back(&image);
  const int64_t d = model.config.text.hidden_size;
  const size_t plane = expected.size();
  std::vector<float> out(plane * size_t(model.vision().num_planes()));
  encoder.rows(ctx, pointers, Tensor(out.data(), DType::f32, {int64_t(out.size()) / d, d}));
  golden::expect_close(std::span(out).first(plane), expected, 1e-3f, "rows");
  // Of the further planes the golden has the first image's.
  for (size_t k = 1; k * plane < out.size(); ++k) {
    const Tensor added = tensors.view(cat("deepstack/", GetParam().ids[0], "/", k - 1));
    golden::expect_close(std::span(out).subspan(k * plane, size_t(added.numel())),
                         {added.as<float>(), size_t(added.numel())}, 1e-3f, cat("plane ", k));
  }
}

// Of every prompt of every row that has three axes: several images, images in later turns, none.
TEST_P(Families, PositionsEqualTransformers) {
  const Model model(dir + "/ckpt", Device::cpu, DType::f32, GetParam().normalisation);
  if (model.config.text.num_position_axes == 1) GTEST_SKIP() << "rows count on";
  const int32_t patch = GetParam().name == "qwen3_vl" ? 16 : 14;
  for (const Json& row : rows.array()) {
    SegmentInput segment{.token_ids = integers(*row.find("prompt_ids"))};
    std::vector<TreeImage> images;
    if (const Json* grids = row.find("image_grid_thw"); grids && !grids->is_null()) {
      for (const Json& grid : grids->array()) {
        const std::vector<int32_t> thw = integers(grid);
        segment.images.push_back(int32_t(images.size()));
        images.push_back({model.vision().layout({0, 0, {{thw[1] * patch, thw[2] * patch}}}), images.size()});
      }
    }
    const SegmentRows made = expand_segment(model.config, segment, images, 0, "prompt");
    const std::vector<Json>& expected = row.find("position_ids")->array();
    ASSERT_EQ(expected.size(), 3u);
    for (int32_t axis = 0; axis < 3; ++axis) {
      std::vector<int32_t> got;
      for (int32_t i = 0; i < made.size(); ++i) got.push_back(made.positions.at(axis, i));
      EXPECT_EQ(got, integers(expected[size_t(axis)])) << row.find("id")->string() << " axis " << axis;
    }
    EXPECT_EQ(made.next_position, row.find("next_position")->integer()) << row.find("id")->string();
  }
}

TEST_P(Families, LogProbabilitiesEqualTransformers) {
  Engine engine(options());
  for (const std::string& id : GetParam().ids) {
    const Prompt p = prompt(id);
    const ScoreRequest request{{{-1, p.prompt, {0}, false}, {0, p.answer, {}, true}}, {p.image}};
    const ScoreResult result = golden::score(engine, {request})[0];
    golden::expect_close(result.segments[0].per_token_logps, p.logps, 3e-4f, id);
  }
}

TEST_P(Families, LogitsEqualTransformers) {
  Context ctx(Device::cpu, 1);
  Model model(dir + "/ckpt", Device::cpu, DType::f32, GetParam().normalisation);
  model.prepare(ctx);
  Forward forward(ctx, model, 256);
  ImageCache cache(model, 1 << 20);
  for (const std::string& id : GetParam().ids) {
    const Prompt p = prompt(id);
    const std::shared_ptr<ImageRows> entry = cache.find(p.image);
    const TreeImage image{model.vision().layout(image_shape(p.image)), 1};
    const SegmentInput segments[] = {{.token_ids = p.prompt, .images = {0}},
                                     {.parent = 0, .token_ids = p.answer, .branch = 0}};
    TreePacker packer(model.config, /*shares_prefixes=*/false);
    packer.add(segments, {&image, 1}, id);
    const TreeBatch tree = packer.take();
    StepRows step(tree);
    for (const ImagePiece& piece : tree.images) step.images.push_back({piece, entry.get()});
    cache.encode(ctx, {&entry, 1});
    const Tensor expected = tensors.view("logits/" + id);
    const int64_t count = expected.dim(0);
    std::vector<float> logits;
    forward.logits(forward.run(step, nullptr, {.read = count}), 0, count, logits);
    golden::expect_close(logits, {expected.as<float>(), size_t(expected.numel())}, 3e-4f, id);
  }
}

// The connector's backward against differences of its forward, a few elements of each part.
TEST_P(Families, ConnectorGradientsEqualFiniteDifferences) {
  Context ctx(Device::cpu, 1);
  Model model(dir + "/ckpt", Device::cpu, DType::f32, GetParam().normalisation);
  model.prepare(ctx);
  Vision& vision = *model.weights.vision;
  const Image first = prompt(GetParam().ids[0]).image, second = prompt(GetParam().ids[1]).image;
  const Image* images[] = {&first, &second};
  const std::vector<ImageShape> shapes = {image_shape(first), image_shape(second)};
  const int64_t num_features = vision.num_features(shapes[0]) + vision.num_features(shapes[1]),
                num_rows =
                    vision.num_planes() * (vision.layout(shapes[0]).num_rows() + vision.layout(shapes[1]).num_rows()),
                d = model.config.text.hidden_size;
  Arena arena(Device::cpu, 64 << 20);
  const Tensor features = arena.tensor(DType::f32, {num_features, vision.feature_width()});
  vision.features(ctx, images, GetParam().normalisation, features, arena);
  const Tensor rows = arena.tensor(DType::f32, {num_rows, d}), slope = arena.tensor(DType::f32, {num_rows, d});
  for (int64_t i = 0; i < slope.numel(); ++i) slope.as<float>()[i] = std::cos(0.37f * float(i));
  std::vector<Tensor> values, grads, kept;
  for (const ConnectorPart& part : vision.connector()) {
    const std::vector<int64_t> shape(part.value->shape.begin(), part.value->shape.begin() + part.value->rank);
    for (std::vector<Tensor>* to : {&values, &grads}) {
      const Tensor flat = arena.tensor(DType::f32, {part.value->numel()});
      std::fill_n(flat.as<float>(), flat.numel(), 0.0f);
      to->push_back(Tensor(flat.data, DType::f32, shape));
    }
    std::copy_n(part.value->as<float>(), part.value->numel(), values.back().as<float>());
    *part.value = values.back();
  }
  const auto loss = [&] {
    vision.connect(ctx, features, shapes, rows, nullptr, arena);
    double sum = 0;
    for (int64_t i = 0; i < rows.numel(); ++i) sum += double(rows.as<float>()[i]) * double(slope.as<float>()[i]);
    return sum;
  };
  vision.connect(ctx, features, shapes, rows, &kept, arena);
  vision.connect_backward(ctx, features, shapes, kept, slope, grads, arena);
  for (size_t part = 0; part < values.size(); ++part) {
    for (const int64_t at : {int64_t(0), values[part].numel() / 2, values[part].numel() - 1}) {
      float& x = values[part].as<float>()[at];
      const float before = x, h = 1e-2f;
      x = before + h;
      const double above = loss();
      x = before - h;
      const double difference = (above - loss()) / (2 * double(h));
      x = before;
      const double grad = double(grads[part].as<float>()[at]);
      EXPECT_NEAR(grad, difference, 0.02 * std::abs(difference) + 2e-3)
          << vision.connector()[part].name << " [" << at << "]";
    }
  }
}

// Of scripts/goldens/{qwen_vl,tile_families,native_families}.py: odd grids, one line of patches, pictures and sequences
// larger than every window, and an adapter on every linear layer of tower, merger and decoder.
class OwnVlm : public testing::TestWithParam<const char*> {
 protected:
  const golden::OwnVlm own{GetParam()};
};

TEST_P(OwnVlm, ImageRowsAndPositionsEqualTransformers) {
  Context ctx(Device::cpu, 1);
  Model model(own.dir + "/ckpt", Device::cpu, DType::f32, own.normalisation());
  model.prepare(ctx);
  ImageEncoder encoder(model);
  for (const Json& row : own.rows.array()) {
    const std::string id = row.find("id")->string();
    const std::vector<Image> pictures = own.images(row);
    if (pictures.empty()) continue;
    const Tensor expected = own.tensors.view("features/" + id);
    std::vector<const Image*> pointers;
    std::vector<TreeImage> tree;
    SegmentInput segment{.token_ids = integers(*row.find("prompt_ids"))};
    for (const Image& picture : pictures) {
      segment.images.push_back(int32_t(tree.size()));
      tree.push_back({model.vision().layout(image_shape(picture)), tree.size()});
      pointers.push_back(&picture);
    }
    std::vector<float> out(size_t(expected.numel()));
    encoder.rows(ctx, pointers, Tensor(out.data(), DType::f32, {expected.dim(0), expected.dim(1)}));
    golden::expect_close(out, {expected.as<float>(), expected.as<float>() + expected.numel()}, 1e-3f, id);
    const SegmentRows made = expand_segment(model.config, segment, tree, 0, "prompt");
    if (model.config.text.num_position_axes == 1) continue;
    for (int32_t axis = 0; axis < 3; ++axis) {
      const std::vector<int32_t> positions = integers(row.find("position_ids")->array()[size_t(axis)]);
      ASSERT_EQ(made.size(), int32_t(positions.size()));
      for (int32_t i = 0; i < made.size(); ++i) ASSERT_EQ(made.positions.at(axis, i), positions[size_t(i)]) << id;
    }
    EXPECT_EQ(made.next_position, row.find("next_position")->integer()) << id;
  }
}

TEST_P(OwnVlm, LogitsAreTransformers) {
  if (!own.is_whole()) GTEST_SKIP() << "log-probabilities alone";
  Context ctx(Device::cpu, 1);
  Model model(own.dir + "/ckpt", Device::cpu, DType::f32, own.normalisation());
  model.prepare(ctx);
  Forward forward(ctx, model, 1024);
  ImageCache cache(model, 1 << 20);
  for (const Json& row : own.rows.array()) {
    const std::string id = row.find("id")->string();
    const std::vector<Image> pictures = own.images(row);
    SegmentInput prompt{.token_ids = integers(*row.find("prompt_ids"))};
    std::vector<std::shared_ptr<ImageRows>> entries;
    std::vector<TreeImage> images;
    for (const Image& picture : pictures) {
      prompt.images.push_back(int32_t(images.size()));
      entries.push_back(cache.find(picture));
      images.push_back({model.vision().layout(image_shape(picture)), images.size() + 1});
    }
    const std::vector<int32_t> answer = integers(*row.find("answers")->array()[0].find("ids"));
    const SegmentInput segments[] = {prompt, {.parent = 0, .token_ids = answer, .branch = 0}};
    TreePacker packer(model.config, /*shares_prefixes=*/false);
    packer.add(segments, images, id);
    const TreeBatch tree = packer.take();
    StepRows step(tree);
    for (const ImagePiece& piece : tree.images) step.images.push_back({piece, entries[size_t(piece.image)].get()});
    cache.encode(ctx, entries);
    const Tensor expected = own.tensors.view("logits/" + id);
    std::vector<float> logits;
    forward.logits(forward.run(step, nullptr, {.read = expected.dim(0)}), 0, expected.dim(0), logits);
    golden::expect_close(logits, {expected.as<float>(), size_t(expected.numel())}, 3e-4f, id);
  }
}

// Random weights amplify bf16's rounding: a band as of the text families, and a bound on the mean signed difference,
// because rounding has no bias and a mistake has.
TEST_P(Families, Bf16StaysInItsBand) {
  Engine engine(options(DType::bf16));
  double sum = 0, sizes = 0, worst = 0;
  int count = 0;
  for (const std::string& id : GetParam().ids) {
    const Prompt p = prompt(id);
    const ScoreRequest request{{{-1, p.prompt, {0}, false}, {0, p.answer, {}, true}}, {p.image}};
    const std::vector<float> logps = golden::score(engine, {request})[0].segments[0].per_token_logps;
    for (size_t t = 0; t < logps.size(); ++t, ++count) {
      const double difference = double(logps[t]) - double(p.logps[t]);
      sum += difference;
      sizes += std::abs(difference);
      worst = std::max(worst, std::abs(difference));
    }
  }
  EXPECT_LE(worst, 1.5);
  EXPECT_LE(sizes / count, 0.15);
  EXPECT_LE(std::abs(sum / count), 3 * sizes / count / std::sqrt(double(count)) + 0.01);
}

TEST_P(OwnVlm, LogProbabilitiesEqualTransformers) { own.expect_logps(own.options(), "logps", 3e-4f); }

TEST_P(OwnVlm, AdapterOnEveryLinearLayerEqualsPeft) {
  EngineOptions o = own.options();
  o.adapter_dirs = {own.adapter()};
  own.expect_logps(o, "adapter_logps", 3e-4f);
}

TEST_P(OwnVlm, MergedModelEqualsTheAdapterAtRunTime) {
  const std::string to = cat(testing::TempDir(), "/own-vlm-", getpid());
  std::filesystem::create_directories(to);
  Context ctx(Device::cpu, 1);
  Model model(own.dir + "/ckpt", Device::cpu, DType::f32, own.normalisation());
  model.add_adapter(own.adapter());
  model.prepare(ctx);
  write_merged(ctx, model, {.dir = to, .dtype = DType::f32});
  for (const char* file : {"config.json", "model.safetensors.index.json"}) {
    const std::string from = cat(own.dir, "/ckpt/", file);
    if (file_exists(from)) std::filesystem::copy_file(from, cat(to, "/", file));
  }
  EngineOptions o = own.options();
  o.model_dir = to;
  own.expect_logps(o, "adapter_logps", 3e-4f);
  std::filesystem::remove_all(to);
}

INSTANTIATE_TEST_SUITE_P(All, OwnVlm, testing::ValuesIn(golden::kOwnVlm),
                         [](const auto& info) { return golden::own_vlm_name(info.param); });

TEST_P(Families, ACropTooManyIsRefused) {
  Engine engine(options());
  ImageShape shape = image_shape(prompt(GetParam().ids[0]).image);
  shape.crops[0].height += 1;
  EXPECT_THROW(engine.layout(shape), Error);
  shape.crops.clear();
  EXPECT_THROW(engine.layout(shape), Error);
}

INSTANTIATE_TEST_SUITE_P(
    All, Families,
    testing::Values(TinyFamily{"smolvlm", kHalf, {"v1-wide", "v2-tall", "v3-tiny"}},
                    TinyFamily{"llava_next", kClipNormalisation, {"v1-wide", "v2-tall", "v3-tiny"}},
                    TinyFamily{"qwen2_vl", kClipNormalisation, {"v1-wide", "v2-tall", "v3-tiny"}},
                    TinyFamily{"qwen2_5_vl", kClipNormalisation, {"v1-wide", "v2-tall", "v3-tiny"}},
                    TinyFamily{"qwen3_vl", kHalf, {"v1-wide", "v2-tall", "v3-tiny"}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace vpref

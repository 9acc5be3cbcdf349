// SPDX-License-Identifier: Apache-2.0
// Families against transformers on the tiny checkpoints of fixtures/families: layouts, rows of images,
// log-probabilities.
// Covers families/smolvlm/smolvlm.cc families/llava_next/llava_next.cc families/qwen2_vl/qwen2_vl.cc
// families/qwen2_vl/vision.cc families/qwen2_5_vl/qwen2_5_vl.cc families/qwen3_vl/qwen3_vl.cc
// families/qwen3_vl/vision.cc
#include <algorithm>

#include "infer/engine.h"
#include "model/image_encoder.h"
#include "model/json.h"
#include "model/tree.h"
#include "support/golden.h"

namespace vpref {
namespace {

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

constexpr Normalisation kHalf = {1.0 / 255.0, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};

std::vector<int32_t> integers(const Json& list) {
  std::vector<int32_t> out;
  for (const Json& v : list.array()) out.push_back(int32_t(v.integer()));
  return out;
}

// [n, 3, H, W] as crops of [H, W, 3]; [H, W, 3] is one.
std::vector<Crop> crops_of(const Tensor& t) {
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

TEST_P(Families, RowsOfImagesAreTransformers) {
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
TEST_P(Families, PositionsAreTransformers) {
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

TEST_P(Families, LogProbabilitiesAreTransformers) {
  Engine engine(options());
  for (const std::string& id : GetParam().ids) {
    const Prompt p = prompt(id);
    const ScoreRequest request{{{-1, p.prompt, {0}, false}, {0, p.answer, {}, true}}, {p.image}};
    const ScoreResult result = golden::score(engine, {request})[0];
    golden::expect_close(result.segments[0].per_token_logps, p.logps, 3e-4f, id);
  }
}

// The connector's backward against differences of its forward, a few elements of each part.
TEST_P(Families, ConnectorsGradientIsItsSlope) {
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

// Of scripts/goldens/qwen_vl.py: odd grids, one line of patches, pictures and sequences larger than every window, and
// an adapter on every linear layer of tower, merger and decoder.
class OwnQwenVl : public testing::TestWithParam<const char*> {
 protected:
  std::string dir = golden::fixture("families/own-vlm/" + std::string(GetParam()));
  Safetensors tensors{dir + "/golden.safetensors"};
  Json rows = read_json_file(dir + "/golden.json");

  std::vector<Image> images(const Json& row) const {
    std::vector<Image> out(row.find("image_grid_thw")->array().size());
    for (size_t i = 0; i < out.size(); ++i)
      out[i].crops = crops_of(tensors.view(cat("pixels_u8/", row.find("id")->string(), "/", i)));
    return out;
  }
  EngineOptions options() const {
    EngineOptions o = golden::options("families/own-vlm/" + std::string(GetParam()) + "/ckpt");
    o.normalisation = kClipNormalisation;
    return o;
  }
  void expect_logps(const EngineOptions& o, const char* key) const {
    Engine engine(o);
    std::vector<ScoreRequest> requests;
    for (const Json& row : rows.array()) {
      ScoreRequest& r = requests.emplace_back();
      r.images = images(row);
      r.segments = {{-1, integers(*row.find("prompt_ids")), {}, false}};
      for (size_t i = 0; i < r.images.size(); ++i) r.segments[0].images.push_back(int32_t(i));
      for (const Json& answer : row.find("answers")->array())
        r.segments.push_back({0, integers(*answer.find("ids")), {}, true});
    }
    const std::vector<ScoreResult> results = golden::score(engine, requests);
    for (size_t i = 0; i < results.size(); ++i) {
      const std::vector<Json>& answers = rows.array()[i].find("answers")->array();
      for (size_t a = 0; a < answers.size(); ++a) {
        std::vector<float> expected;
        for (const Json& v : answers[a].find(key)->array()) expected.push_back(float(v.number()));
        golden::expect_close(results[i].segments[a].per_token_logps, expected, 3e-4f, cat("row ", i, " answer ", a));
      }
    }
  }
};

TEST_P(OwnQwenVl, RowsAndPositionsAreTransformers) {
  Context ctx(Device::cpu, 1);
  Model model(dir + "/ckpt", Device::cpu, DType::f32, kClipNormalisation);
  model.prepare(ctx);
  ImageEncoder encoder(model);
  for (const Json& row : rows.array()) {
    const std::string id = row.find("id")->string();
    const std::vector<Image> pictures = images(row);
    const Tensor expected = tensors.view("features/" + id);
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
    for (int32_t axis = 0; axis < 3; ++axis) {
      const std::vector<int32_t> positions = integers(row.find("position_ids")->array()[size_t(axis)]);
      ASSERT_EQ(made.size(), int32_t(positions.size()));
      for (int32_t i = 0; i < made.size(); ++i) ASSERT_EQ(made.positions.at(axis, i), positions[size_t(i)]) << id;
    }
    EXPECT_EQ(made.next_position, row.find("next_position")->integer()) << id;
  }
}

TEST_P(OwnQwenVl, LogProbabilitiesAreTransformers) { expect_logps(options(), "logps"); }

TEST_P(OwnQwenVl, AnAdapterOnEveryLinearLayerIsPefts) {
  EngineOptions o = options();
  o.adapter_dirs = {dir + "/adapter"};
  expect_logps(o, "adapter_logps");
}

INSTANTIATE_TEST_SUITE_P(All, OwnQwenVl, testing::Values("qwen2_vl", "qwen2_5_vl"),
                         [](const auto& info) { return std::string(info.param); });

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

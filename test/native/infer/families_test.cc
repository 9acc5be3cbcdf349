// SPDX-License-Identifier: Apache-2.0
// Families against transformers on the tiny checkpoints of fixtures/families: layouts, rows of images,
// log-probabilities.
// Covers families/smolvlm/smolvlm.cc families/llava_next/llava_next.cc families/qwen3_vl/qwen3_vl.cc
// families/qwen3_vl/vision.cc
#include <algorithm>

#include "infer/engine.h"
#include "model/image_encoder.h"
#include "model/json.h"
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

// [n, 3, H, W], or one picture [H, W, 3], as crops of [H, W, 3].
std::vector<Crop> crops_of(const Tensor& t) {
  if (t.rank == 3) {
    const uint8_t* pixels = static_cast<const uint8_t*>(t.data);
    return {{int32_t(t.dim(0)), int32_t(t.dim(1)), {pixels, pixels + t.bytes()}}};
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

TEST_P(Families, ACropTooManyIsRefused) {
  Engine engine(options());
  ImageShape shape = image_shape(prompt(GetParam().ids[0]).image);
  shape.crops[0].height += 1;
  EXPECT_THROW(engine.layout(shape), Error);
  shape.crops.clear();
  EXPECT_THROW(engine.layout(shape), Error);
}

INSTANTIATE_TEST_SUITE_P(All, Families,
                         testing::Values(TinyFamily{"smolvlm", kHalf, {"v1-wide", "v2-tall", "v3-tiny"}},
                                         TinyFamily{"qwen3_vl", kHalf, {"v1-wide", "v2-tall", "v3-tiny"}},
                                         TinyFamily{
                                             "llava_next", kClipNormalisation, {"v1-wide", "v2-tall", "v3-tiny"}}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace vpref

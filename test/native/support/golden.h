// SPDX-License-Identifier: Apache-2.0
// Goldens and tiny checkpoints from fixtures/, and an engine to hold against them.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "model/safetensors.h"
#include "support/clip.h"

namespace vpref::golden {

inline std::string fixture(const std::string& path) { return std::string(VPREF_FIXTURES) + "/" + path; }

// Row r of a [R,N] i32 tensor without its -1 padding.
inline std::vector<int32_t> ids(const Tensor& t, int64_t r) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < t.dim(1); ++i) {
    const int32_t v = t.rows(r, 1).as<int32_t>()[i];
    if (v >= 0) out.push_back(v);
  }
  return out;
}

inline std::vector<float> floats(const Tensor& t, int64_t r, size_t count) {
  const float* p = t.rows(r, 1).as<float>();
  return {p, p + count};
}

inline Image image(const Tensor& images, int64_t i) {
  const int32_t height = int32_t(images.dim(1)), width = int32_t(images.dim(2));
  const size_t bytes = size_t(images.dim(1) * images.dim(2) * images.dim(3));
  const uint8_t* p = static_cast<const uint8_t*>(images.data) + size_t(i) * bytes;
  return {height, width, {{height, width, {p, p + bytes}}}, {}};
}

inline void expect_close(std::span<const float> actual, std::span<const float> expected, float tolerance,
                         const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(std::abs(actual[i] - expected[i]) <= tolerance)
        << what << " [" << i << "]: expected " << expected[i] << ", got " << actual[i] << ", tolerance " << tolerance;
  }
}

// The cases of fixtures/golden/models/NAME.safetensors.
class Cases {
 public:
  explicit Cases(const std::string& name) : file_(fixture("golden/models/" + name + ".safetensors")) {}
  Tensor operator[](const std::string& name) const { return file_.view(name); }
  bool has(const std::string& name) const { return file_.contains(name); }
  int64_t size() const { return file_.view("prompt_ids").dim(0); }
  std::vector<int32_t> prompt(int64_t i) const { return ids(file_.view("prompt_ids"), i); }
  std::vector<int32_t> response(int64_t i) const { return ids(file_.view("response_ids"), i); }
  std::vector<Image> images(int64_t i) const {
    std::vector<Image> out;
    for (const int32_t k : ids(file_.view("prompt_images"), i)) out.push_back(image(file_.view("images"), k));
    return out;
  }
  std::vector<float> logps(int64_t i, const char* name = "logps") const {
    return floats(file_.view(name), i, response(i).size());
  }
  ScoreRequest score_request(int64_t i) const {
    ScoreRequest r;
    r.images = images(i);
    ScoreSegment prompt_segment{-1, prompt(i), {}, false};
    for (size_t k = 0; k < r.images.size(); ++k) prompt_segment.images.push_back(int32_t(k));
    r.segments = {prompt_segment, ScoreSegment{0, response(i), {}, true}};
    return r;
  }
  GenerateRequest generate_request(int64_t i, int32_t max_new_tokens) const {
    GenerateRequest r;
    r.prompt = prompt(i);
    r.images = images(i);
    r.max_new_tokens = max_new_tokens;
    r.sampling.rng_key = uint64_t(i) + 100;
    return r;
  }

 private:
  Safetensors file_;
};

template <class T>
T value(Outcome<T> outcome) {
  if (const Error* e = std::get_if<Error>(&outcome)) throw *e;
  return std::get<T>(std::move(outcome));
}

// All requests as one batch: queued while the engine waits, results in request order.
inline std::vector<GenerateResult> generate(Engine& engine, const std::vector<GenerateRequest>& requests) {
  std::vector<std::future<Outcome<GenerateResult>>> futures;
  engine.pace(true);
  for (const auto& request : requests) {
    auto promise = std::make_shared<std::promise<Outcome<GenerateResult>>>();
    futures.push_back(promise->get_future());
    engine.generate(request, [promise](auto outcome) { promise->set_value(std::move(outcome)); });
  }
  engine.pace(false);
  std::vector<GenerateResult> out;
  std::vector<Outcome<GenerateResult>> outcomes;
  for (auto& f : futures) outcomes.push_back(f.get());
  for (auto& o : outcomes) out.push_back(value(std::move(o)));
  return out;
}

inline std::vector<ScoreResult> score(Engine& engine, const std::vector<ScoreRequest>& requests) {
  std::vector<std::future<Outcome<ScoreResult>>> futures;
  engine.pace(true);
  for (const auto& request : requests) {
    auto promise = std::make_shared<std::promise<Outcome<ScoreResult>>>();
    futures.push_back(promise->get_future());
    engine.score(request, [promise](auto outcome) { promise->set_value(std::move(outcome)); });
  }
  engine.pace(false);
  std::vector<Outcome<ScoreResult>> outcomes;
  for (auto& f : futures) outcomes.push_back(f.get());
  std::vector<ScoreResult> out;
  for (auto& o : outcomes) out.push_back(value(std::move(o)));
  return out;
}

inline EngineOptions options(const std::string& model, DType dtype = DType::f32) {
  EngineOptions o;
  o.model_dir = fixture(model);
  o.dtype = dtype;
  o.normalisation = kClipNormalisation;
  o.threads = 1;
  return o;
}

}  // namespace vpref::golden

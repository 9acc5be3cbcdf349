// SPDX-License-Identifier: Apache-2.0
// Results of transformers and peft on a checkpoint of fixtures/families: golden.json and dpo.json.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#include "model/json.h"
#include "support/golden.h"
#include "train/session.h"

namespace vpref::golden {

inline const Json& at(const Json& object, const char* key) {
  const Json* member = object.find(key);
  if (!member) throw std::runtime_error(std::string("no ") + key + " in the golden");
  return *member;
}

template <class T>
std::vector<T> numbers(const Json& list) {
  std::vector<T> out;
  for (const Json& n : list.array()) out.push_back(T(n.number()));
  return out;
}

struct Answer {
  std::vector<int32_t> ids;
  std::vector<float> logps;
  double sum;
};

struct Row {
  std::string id;
  std::vector<int32_t> prompt;
  std::vector<Answer> answers;
  std::vector<int32_t> greedy;
  double margin;  // the smallest between the two best logits
};

// A text checkpoint with its goldens; `name` below fixtures/families.
struct Checkpoint {
  explicit Checkpoint(const std::string& name) : dir(fixture("families/" + name)) {
    const Json json = read_json_file(file("golden.json"));
    for (const Json& r : json.array()) {
      Row row{.id = at(r, "id").string(),
              .prompt = numbers<int32_t>(at(r, "prompt_ids")),
              .answers = {},
              .greedy = numbers<int32_t>(at(at(r, "greedy"), "ids")),
              .margin = at(at(r, "greedy"), "min_margin").number()};
      for (const Json& a : at(r, "answers").array())
        row.answers.push_back({numbers<int32_t>(at(a, "ids")), numbers<float>(at(a, "logps")), at(a, "sum").number()});
      rows.push_back(std::move(row));
    }
  }

  std::string file(const std::string& name) const { return dir + "/" + name; }

  EngineOptions options(DType dtype = DType::f32) const {
    EngineOptions o;
    o.model_dir = file("ckpt");
    o.dtype = dtype;
    o.threads = 1;
    return o;
  }

  // Prompts with their responses, each as one tree.
  std::vector<ScoreRequest> score_requests() const {
    std::vector<ScoreRequest> all;
    for (const Row& row : rows) {
      all.emplace_back().segments = {ScoreSegment{-1, row.prompt, {}, false}};
      for (const Answer& a : row.answers) all.back().segments.push_back(ScoreSegment{0, a.ids, {}, true});
    }
    return all;
  }

  std::vector<GenerateRequest> greedy_requests() const {
    std::vector<GenerateRequest> all;
    for (const Row& row : rows) {
      all.emplace_back().prompt = row.prompt;
      all.back().max_new_tokens = int32_t(row.greedy.size());
    }
    return all;
  }

  // The pairs of dpo.json, each with its reference.
  std::vector<SessionRow> pairs() const {
    std::vector<SessionRow> out;
    for (const Json& pair : at(dpo, "pairs").array()) {
      for (const Row& row : rows) {
        if (row.id != at(pair, "id").string()) continue;
        SessionRow s;
        s.row.id = row.id;
        s.row.num_rejected = 1;
        s.row.segments.push_back({.parent = -1, .token_ids = row.prompt});
        for (int32_t k = 0; k < 2; ++k)
          s.row.segments.push_back({.parent = 0, .token_ids = row.answers[size_t(k)].ids, .branch = k});
        s.row.ref = {at(pair, "ref_chosen").number(), at(pair, "ref_rejected").number()};
        out.push_back(std::move(s));
      }
    }
    return out;
  }

  // One adapter of rank 4 on all seven linears, as in dpo.json.
  static TrainerOptions trainer_options(int recompute) {
    TrainerOptions o;
    o.loss = parse_losses("sigmoid");
    o.trainable.lora_r = 4;
    o.trainable.lora_alpha = 8;
    o.recompute = recompute;
    return o;
  }

  std::string dir;
  std::vector<Row> rows;
  const Json dpo = read_json_file(file("dpo.json"));
};

// Relative L2 of every tensor in the file `want`.
inline void expect_gradients(const std::string& got_file, const std::string& want_file, double tolerance) {
  const Safetensors got(got_file), want(want_file);
  constexpr std::string_view kRoot = "base_model.model.";
  for (const auto& [name, stored] : want.tensors()) {
    const std::string key = name.starts_with(kRoot) ? name.substr(kRoot.size()) : name;  // as PEFT saves it, or vpref
    ASSERT_TRUE(got.contains(key)) << key;
    const Tensor a = got.view(key), b = want.view(name);
    ASSERT_EQ(a.numel(), b.numel()) << name;
    double difference = 0, norm = 0;
    for (int64_t k = 0; k < a.numel(); ++k) {
      difference += std::pow(double(a.as<float>()[k]) - b.as<float>()[k], 2);
      norm += std::pow(double(b.as<float>()[k]), 2);
    }
    EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(norm) + 1e-9)
        << key << ": relative L2 " << std::sqrt(difference / norm);
  }
}

}  // namespace vpref::golden

// SPDX-License-Identifier: Apache-2.0
// The losses against trl's code (scripts/goldens/trl_losses.py): the loss of a batch, and its derivative with respect
// to every sum.
#include <gtest/gtest.h>

#include <stdexcept>

#include "core/error.h"
#include "model/json.h"
#include "train/losses/reward_mean.h"

namespace vpref {
namespace {

const Json& at(const Json& object, const std::string& key) {
  const Json* member = object.find(key);
  if (!member) throw std::runtime_error("no " + key + " in the golden");
  return *member;
}

const Json& golden() {
  static const Json json = read_json_file(std::string(VPREF_FIXTURES) + "/golden/trl-losses.json");
  return json;
}

struct Record {
  ResponseLogps chosen;
  std::vector<ResponseLogps> rejected;
  bool label = true;
};

ResponseLogps branch_of(const Json& b) {
  return {at(b, "policy").number(), at(b, "ref").number(), at(b, "num_tokens").integer()};
}

std::vector<Record> pairs() {
  std::vector<Record> out;
  for (size_t i = 0; i < at(golden(), "chosen").array().size(); ++i)
    out.push_back({branch_of(at(golden(), "chosen").array()[i]), {branch_of(at(golden(), "rejected").array()[i])}});
  return out;
}

struct BatchLoss {
  double loss = 0;
  std::vector<double> d_chosen, d_rejected;
};

BatchLoss loss_of(const Json& test, const std::vector<Record>& records, double reward_mean = 0) {
  const Json& options = at(test, "options");
  const auto option = [&](const char* name, double otherwise) {
    return options.find(name) ? options.find(name)->number() : otherwise;
  };
  const LossOptions o{.beta = at(golden(), "beta").number(),
                      .label_smoothing = option("label_smoothing", 0),
                      .simpo_gamma = option("simpo_gamma", 0.5),
                      .cpo_alpha = option("cpo_alpha", 1),
                      .orpo_lambda = option("orpo_lambda", 1),
                      .desirable_weight = option("desirable_weight", 1),
                      .undesirable_weight = option("undesirable_weight", 1)};
  std::string name = at(test, "loss_name").string();
  if (name == "odds-ratio") name = cat("odds-ratio:", option("orpo_lambda", 1));
  double num_tokens = 0;
  for (const Record& r : records) num_tokens += double(r.chosen.num_tokens);
  BatchLoss out{
      .loss = 0, .d_chosen = std::vector<double>(records.size()), .d_rejected = std::vector<double>(records.size())};
  for (const LossTerm& term : parse_losses(name, o)) {
    const double scale = term.weight / (term.info->average == Average::tokens ? num_tokens : double(records.size()));
    for (size_t i = 0; i < records.size(); ++i) {
      const Preference p{records[i].chosen,
                         records[i].rejected,
                         {},
                         records[i].label,
                         {test.find("kl") ? at(test, "kl").number() : 0, reward_mean}};
      const LossValue v = term.info->function(p, o);
      out.loss += scale * v.loss;
      out.d_chosen[i] += scale * v.d_chosen;
      if (!v.d_rejected.empty()) out.d_rejected[i] += scale * v.d_rejected[0];
    }
  }
  return out;
}

void expect_equal(const Json& test, const BatchLoss& got) {
  const std::string name = at(test, "loss_name").string();
  const double tolerance = name == "odds-ratio" ? 1e-6 : 1e-9;  // trl rounds the odds ratio to f32
  EXPECT_NEAR(got.loss, at(test, "loss").number(), tolerance * (1 + std::abs(got.loss))) << name;
  const auto expect_all = [&](const char* key, const std::vector<double>& values) {
    if (!test.find(key)) return;
    ASSERT_EQ(values.size(), at(test, key).array().size()) << name;
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(values[i], at(test, key).array()[i].number(), tolerance) << name << " " << key << " " << i;
  };
  expect_all("d_chosen", got.d_chosen);
  expect_all("d_rejected", got.d_rejected);
}

TEST(TrlLosses, PairsGiveTrlsLossAndDerivatives) {
  for (const Json& test : at(golden(), "pairs").array()) expect_equal(test, loss_of(test, pairs()));
}

TEST(TrlLosses, UnpairedResponsesGiveTrlsKto) {
  std::vector<Record> answers;
  for (const Json& answer : at(golden(), "answers").array())
    answers.push_back({branch_of(answer), {}, at(answer, "label").boolean()});
  for (const Json& test : at(golden(), "kto").array()) expect_equal(test, loss_of(test, answers));
}

// Batches in sequence through trl's BCOTrainer, whose loss is the mean over responses: for a pair, half of ours.
TEST(TrlLosses, BatchesGiveTrlsBcoWithItsRunningMean) {
  for (const Json& run : at(golden(), "bco").array()) {
    RewardMean mean;
    for (const Json& batch : at(run, "batches").array()) {
      std::vector<Record> records;
      RewardSums sums;
      for (const Json& one : at(batch, "records").array()) {
        Record r{branch_of(at(one, "chosen")), {}, !one.find("label") || at(one, "label").boolean()};
        if (one.find("rejected")) r.rejected.push_back(branch_of(at(one, "rejected")));
        LossRow row{{r.chosen}, int32_t(r.rejected.size()), r.label};
        row.branches.insert(row.branches.end(), r.rejected.begin(), r.rejected.end());
        sums.add(row, at(golden(), "beta").number());
        records.push_back(std::move(r));
      }
      if (at(batch, "training").boolean()) mean = mean.with(sums);
      EXPECT_NEAR(mean.mean, at(batch, "delta").number(), 1e-12);
      expect_equal(batch, loss_of(batch, records, mean.mean));
    }
  }
}

// METHODS.md lists these. If a new golden lacks one of them, this test fails.
TEST(TrlLosses, TheKnownDifferencesRemain) {
  const Json& smoothed = at(at(golden(), "differences"), "sigmoid, label_smoothing 0.1");
  EXPECT_NEAR(at(smoothed, "loss").number(), at(at(golden(), "pairs").array()[0], "loss").number(), 1e-12)
      << "trl ignores it for sigmoid";
  EXPECT_GT(std::abs(loss_of(smoothed, pairs()).loss - at(smoothed, "loss").number()), 1e-3);
  const Json& orpo = at(at(golden(), "differences"), "orpo");
  EXPECT_GT(std::abs(loss_of(orpo, pairs()).loss - at(orpo, "loss").number()), 1e-3)
      << "trl's likelihood term reads the prompt too";
}

}  // namespace
}  // namespace vpref

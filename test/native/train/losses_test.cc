// SPDX-License-Identifier: Apache-2.0
// Each loss against the formula of its paper written plainly, and its gradient against central differences of that
// formula.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "core/error.h"
#include "train/losses/reward_mean.h"

namespace vpref {
namespace {

// One record with K rejected responses and J damaged images; owns the data of its Preference.
struct Record {
  ResponseLogps chosen;
  std::vector<ResponseLogps> rejected, images;
  bool label = true;
  StepPoints points;
  Preference view() const { return {chosen, rejected, images, label, points}; }
};

double s(double x) { return 1 / (1 + std::exp(-x)); }

// Differences of log-ratios, chosen - rejected[k].
double diff(const Record& r, int k) {
  return (r.chosen.policy - r.chosen.ref) - (r.rejected[k].policy - r.rejected[k].ref);
}
double mean_over_rejected(const Record& r, const std::function<double(int)>& f) {
  double sum = 0;
  for (size_t k = 0; k < r.rejected.size(); ++k) sum += f(int(k));
  return sum / double(r.rejected.size());
}

using Plain = std::function<double(const Record&, const LossOptions&)>;

const std::vector<std::pair<std::string, Plain>>& plain_losses() {
  static const std::vector<std::pair<std::string, Plain>> table = {
      {"sigmoid",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const double x = o.beta * diff(r, k), e = o.label_smoothing;
           return -(1 - e) * std::log(s(x)) - e * std::log(s(-x));
         });
       }},
      {"hinge",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) { return std::max(0.0, 1 - o.beta * diff(r, k)); });
       }},
      {"robust",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const double x = o.beta * diff(r, k), e = o.label_smoothing;
           return ((1 - e) * -std::log(s(x)) - e * -std::log(s(-x))) / (1 - 2 * e);
         });
       }},
      {"sigmoid-norm",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const ResponseLogps &c = r.chosen, &j = r.rejected[k];
           const double d = (c.policy - c.ref) / double(c.num_tokens) - (j.policy - j.ref) / double(j.num_tokens);
           return -(1 - o.label_smoothing) * std::log(s(o.beta * d)) - o.label_smoothing * std::log(s(-o.beta * d));
         });
       }},
      {"bco-pair",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const double c = o.beta * (r.chosen.policy - r.chosen.ref),
                        j = o.beta * (r.rejected[k].policy - r.rejected[k].ref);
           return -std::log(s(c)) - std::log(s(-j));
         });
       }},
      {"bco",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const double c = o.beta * (r.chosen.policy - r.chosen.ref),
                        j = o.beta * (r.rejected[k].policy - r.rejected[k].ref);
           return -std::log(s(c - r.points.reward_mean)) - std::log(s(r.points.reward_mean - j));
         });
       }},
      {"ipo",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) { return std::pow(diff(r, k) - 0.5 / o.beta, 2); });
       }},
      {"ipo-token-mean",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const ResponseLogps &c = r.chosen, &j = r.rejected[k];
           const double d = (c.policy - c.ref) / double(c.num_tokens) - (j.policy - j.ref) / double(j.num_tokens);
           return std::pow(d - 0.5 / o.beta, 2);
         });
       }},
      {"exo",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const double q = s(o.beta * diff(r, k)), e = o.label_smoothing;
           return q * std::log(q / (1 - e)) + (1 - q) * std::log((1 - q) / e);
         });
       }},
      {"nca",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const double c = o.beta * (r.chosen.policy - r.chosen.ref),
                        j = o.beta * (r.rejected[k].policy - r.rejected[k].ref);
           return -std::log(s(c)) - 0.5 * std::log(s(-c)) - 0.5 * std::log(s(-j));
         });
       }},
      {"apo-zero",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           return 1 - s(o.beta * (r.chosen.policy - r.chosen.ref)) +
                  s(o.beta * (r.rejected[k].policy - r.rejected[k].ref));
         });
       }},
      {"apo-down",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(
             r, [&](int k) { return s(o.beta * (r.chosen.policy - r.chosen.ref)) + 1 - s(o.beta * diff(r, k)); });
       }},
      {"softmax",
       [](const Record& r, const LossOptions& o) {
         const double w = std::exp(o.beta * (r.chosen.policy - r.chosen.ref));
         double all = w;
         for (const ResponseLogps& j : r.rejected) all += std::exp(o.beta * (j.policy - j.ref));
         return -std::log(w / all);
       }},
      {"mdpo",
       [](const Record& r, const LossOptions& o) {
         const double l = r.chosen.policy - r.chosen.ref;
         double image = 0;
         for (const ResponseLogps& j : r.images)
           image += -std::log(s(o.beta * (l - (j.policy - j.ref)))) / double(r.images.size());
         return mean_over_rejected(r, [&](int k) { return -std::log(s(o.beta * diff(r, k))); }) + image -
                std::log(s(o.beta * l));
       }},
      {"simpo",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const ResponseLogps& j = r.rejected[k];
           const double x = o.beta * (r.chosen.policy / double(r.chosen.num_tokens) - j.policy / double(j.num_tokens)) -
                            o.simpo_gamma;
           return -(1 - o.label_smoothing) * std::log(s(x)) - o.label_smoothing * std::log(s(-x));
         });
       }},
      {"odds-ratio",
       [](const Record& r, const LossOptions&) {
         return mean_over_rejected(r, [&](int k) {
           const double pc = std::exp(r.chosen.policy / double(r.chosen.num_tokens));
           const double pr = std::exp(r.rejected[k].policy / double(r.rejected[k].num_tokens));
           return -std::log(s(std::log((pc / (1 - pc)) / (pr / (1 - pr)))));
         });
       }},
      {"cpo-margin",
       [](const Record& r, const LossOptions& o) {
         return mean_over_rejected(r, [&](int k) {
           const double x = o.beta * (r.chosen.policy - r.rejected[k].policy), e = o.label_smoothing;
           return -(1 - e) * std::log(s(x)) - e * std::log(s(-x));
         });
       }},
      {"kto",
       [](const Record& r, const LossOptions& o) {
         const double x = o.beta * (r.chosen.policy - r.chosen.ref - r.points.kl);
         return r.label ? o.desirable_weight * (1 - s(x)) : o.undesirable_weight * (1 - s(-x));
       }},
      {"sft", [](const Record& r, const LossOptions&) { return -r.chosen.policy; }},
  };
  return table;
}

Record random_record(std::mt19937& gen, int k, int j) {
  std::uniform_real_distribution<double> logp(-40, -2), shift(-6, 6);
  std::uniform_int_distribution<int> count(1, 60);
  const auto branch = [&] {
    const double ref = logp(gen);
    return ResponseLogps{std::min(ref + shift(gen), -0.05), ref, count(gen)};
  };
  Record r{.chosen = branch(), .rejected = {}, .images = {}};
  for (int i = 0; i < k; ++i) r.rejected.push_back(branch());
  for (int i = 0; i < j; ++i) r.images.push_back(branch());
  r.label = gen() & 1;
  r.points = {std::abs(shift(gen)) / 4, shift(gen) / 4};
  return r;
}

const LossInfo& info(const std::string& name) { return *parse_losses(name)[0].info; }

class LossTest : public testing::TestWithParam<size_t> {};

TEST_P(LossTest, ValueEqualsThePublishedEquationAndGradientEqualsFiniteDifferences) {
  const auto& [name, plain] = plain_losses()[GetParam()];
  std::mt19937 gen(7);
  for (int trial = 0; trial < 200; ++trial) {
    Record r = random_record(gen, 1 + trial % 3, 1 + trial % 2);
    LossOptions o{.beta = 0.05 + 0.1 * (trial % 4),
                  .label_smoothing = 0.02 + 0.1 * (trial % 4),
                  .simpo_gamma = 0.3,
                  .desirable_weight = 1.2,
                  .undesirable_weight = 0.7};
    const LossValue got = info(name).function(r.view(), o);
    const double want = plain(r, o);
    ASSERT_NEAR(got.loss, want, 1e-9 * (1 + std::abs(want))) << name << " trial " << trial;
    const auto expect_slope = [&](double* x, double slope, const char* what) {
      const double at = *x, h = 1e-5;
      *x = at + h;
      const double up = plain(r, o);
      *x = at - h;
      const double down = plain(r, o);
      *x = at;
      ASSERT_NEAR(slope, (up - down) / (2 * h), 2e-6 * (1 + std::abs(slope)))
          << name << " " << what << " trial " << trial;
    };
    expect_slope(&r.chosen.policy, got.d_chosen, "chosen");
    for (size_t k = 0; k < got.d_rejected.size(); ++k)
      expect_slope(&r.rejected[k].policy, got.d_rejected[k], "rejected");
    for (size_t j = 0; j < got.d_rejected_images.size(); ++j)
      expect_slope(&r.images[j].policy, got.d_rejected_images[j], "rejected image");
  }
}

TEST_P(LossTest, StaysFiniteForExtremeLogps) {
  const auto& [name, plain] = plain_losses()[GetParam()];
  for (double at : {-5e4, -1e-13}) {
    for (double other : {-5e4, -1e-13}) {
      Record r{.chosen = {at, -10, 3}, .rejected = {{other, -10, 3}}, .images = {{other, -10, 3}}};
      const LossValue v = info(name).function(r.view(), {.label_smoothing = 0.1});
      EXPECT_TRUE(std::isfinite(v.loss)) << name << " " << at << " " << other;
      EXPECT_TRUE(std::isfinite(v.d_chosen)) << name;
      for (double d : v.d_rejected) EXPECT_TRUE(std::isfinite(d)) << name;
    }
  }
}

// Exactly the declared hyperparameters change the loss, so no option is accepted and ignored.
TEST_P(LossTest, ReadsExactlyItsDeclaredHyperparameters) {
  const auto& [name, plain] = plain_losses()[GetParam()];
  const std::vector<std::string> said = hyperparameters_of(name);
  for (const HyperparameterInfo& h : hyperparameters()) {
    bool changes = false;
    std::mt19937 gen(11);
    for (int trial = 0; trial < 50; ++trial) {
      const Record r = random_record(gen, 2, 1);
      const LossOptions before{.label_smoothing = 0.1};
      LossOptions after = before;
      after.*h.value += 0.2;
      changes |= info(name).function(r.view(), before).loss != info(name).function(r.view(), after).loss;
    }
    EXPECT_EQ(changes, std::find(said.begin(), said.end(), h.flag()) != said.end()) << name << " " << h.flag();
  }
}

INSTANTIATE_TEST_SUITE_P(All, LossTest, testing::Range(size_t(0), plain_losses().size()), [](const auto& param) {
  std::string name = plain_losses()[param.param].first;
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
});

TEST(Losses, EveryLossOfTheTableIsTested) {
  EXPECT_EQ(losses().size(), plain_losses().size());
  for (const LossInfo* l : losses()) {
    bool found = false;
    for (const auto& [name, plain] : plain_losses()) found |= name == l->name;
    EXPECT_TRUE(found) << l->name;
  }
}

TEST(Losses, SoftmaxWithOneNegativeIsDpo) {
  std::mt19937 gen(3);
  for (int i = 0; i < 100; ++i) {
    const Record r = random_record(gen, 1, 0);
    const LossValue a = info("softmax").function(r.view(), {}), b = info("sigmoid").function(r.view(), {});
    EXPECT_NEAR(a.loss, b.loss, 1e-12 * (1 + b.loss));
    EXPECT_NEAR(a.d_chosen, b.d_chosen, 1e-12);
    EXPECT_NEAR(a.d_rejected[0], b.d_rejected[0], 1e-12);
  }
}

TEST(Losses, AtTheReferenceDpoIsLogTwo) {
  Record r{.chosen = {-12, -12, 5}, .rejected = {{-20, -20, 6}}, .images = {}};
  EXPECT_DOUBLE_EQ(info("sigmoid").function(r.view(), {}).loss, std::log(2.0));
}

TEST(Losses, ParsesSumsAndTheCompositeNames) {
  const auto terms = parse_losses("sigmoid:0.8,sft:0.1");
  ASSERT_EQ(terms.size(), 2u);
  EXPECT_EQ(terms[0].weight, 0.8);
  EXPECT_EQ(terms[1].info->average, Average::tokens);
  const auto orpo = parse_losses("orpo", {.orpo_lambda = 0.25});
  ASSERT_EQ(orpo.size(), 2u);
  EXPECT_EQ(orpo[1].info->name, "odds-ratio");
  EXPECT_EQ(orpo[1].weight, 0.25);
  EXPECT_EQ(parse_losses("cpo", {.cpo_alpha = 0}).size(), 1u);
  const auto mpo = parse_losses("mpo:2");
  ASSERT_EQ(mpo.size(), 3u);
  EXPECT_EQ(mpo[0].info->name, "sigmoid");
  EXPECT_EQ(mpo[0].weight, 1.6);
  EXPECT_EQ(mpo[1].info->name, "bco-pair");
  EXPECT_EQ(mpo[1].weight, 0.4);
  EXPECT_EQ(mpo[2].info->name, "sft");
  EXPECT_EQ(mpo[2].weight, 2);
}

TEST(Losses, WeightedSumReadsTheHyperparametersOfItsPartsAndItsWeights) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(hyperparameters_of("cpo"), (Names{"beta", "label-smoothing", "cpo-alpha"}));
  EXPECT_EQ(hyperparameters_of("orpo"), (Names{"orpo-lambda"}));
  EXPECT_EQ(hyperparameters_of("sft"), Names{});
  EXPECT_EQ(hyperparameters_of("ipo,sft:2"), (Names{"beta"}));
  for (const LossSum& sum : loss_sums()) EXPECT_FALSE(parse_losses(sum.name).empty()) << sum.name;
}

TEST(Losses, RefusesUnknownNamesAndWeights) {
  for (const char* text :
       {"", "dpo", "sigmoid,", "sigmoid:", "sigmoid:x", "sigmoid:-1", "sigmoid:nan", "sigmoid:1e9"}) {
    EXPECT_THROW(parse_losses(text), Error) << text;
  }
  EXPECT_THROW(check_loss_options(parse_losses("exo"), {.label_smoothing = 0}), Error);
  EXPECT_THROW(check_loss_options(parse_losses("sigmoid"), {.label_smoothing = 0.5}), Error);
  EXPECT_THROW(check_loss_options(parse_losses("sigmoid"), {.beta = 0}), Error);
}

// Pairs with their tokens, as input of the objective.
LossRow loss_row(std::mt19937& random, double weight = 1) {
  std::uniform_real_distribution<double> sums(-30, -1);
  LossRow row{{}, 1, true, weight};
  for (int64_t tokens : {7, 4}) row.branches.push_back({sums(random), sums(random), tokens});
  return row;
}

TEST(Objective, ARowOfWeightTwoCountsAsThatRowTwice) {
  for (const char* loss : {"sigmoid", "sft", "sigmoid:0.8,bco-pair:0.2,sft:1"}) {
    std::mt19937 random(3);
    const std::vector<LossTerm> terms = parse_losses(loss);
    const Objective objective{terms, {}};
    const LossRow a = loss_row(random), b = loss_row(random);
    LossRow doubled = a, nothing = loss_row(random, 0);
    doubled.weight = 2;
    EXPECT_NEAR(objective.mean(std::vector{doubled, b, nothing}, {}), objective.mean(std::vector{a, a, b}, {}), 1e-14);
    EXPECT_EQ(objective.mean(std::vector{nothing}, {}), 0);
  }
}

TEST(Objective, DerivativesAreThoseOfTheWeightedMeanWithEachRecordsBeta) {
  std::mt19937 random(5);
  const std::vector<LossTerm> terms = parse_losses("sigmoid:0.8,bco-pair:0.2,sft:1");
  const Objective objective{terms, {.beta = 0.2}};
  std::vector<LossRow> rows = {loss_row(random, 0.5), loss_row(random, 3)};
  rows[1].beta = 0.7;
  LossTotals totals;
  for (const LossRow& row : rows) totals.add(row.weight, row.branches[0].num_tokens);
  std::vector<double> slopes(4);
  objective.shares(rows, {}, totals, slopes);
  for (size_t r = 0; r < rows.size(); ++r) {
    LossRow& row = rows[r];
    for (size_t k = 0; k < row.branches.size(); ++k) {
      const double step = 1e-5, here = row.branches[k].policy;
      row.branches[k].policy = here + step;
      const double above = objective.mean(rows, {});
      row.branches[k].policy = here - step;
      const double below = objective.mean(rows, {});
      row.branches[k].policy = here;
      EXPECT_NEAR(slopes[2 * r + k], (above - below) / (2 * step), 1e-8);
    }
  }
  // A row's beta replaces the options' for that row.
  LossRow own = rows[0], given = rows[0];
  own.beta = 0.7;
  EXPECT_EQ(objective.mean(std::vector{own}, {}), (Objective{terms, {.beta = 0.7}}.mean(std::vector{given}, {})));
}

// A response with a label: its loss and slope by the paper's formula and its finite differences.
TEST(Losses, BcoOfASingleResponseFollowsItsLabel) {
  std::mt19937 gen(13);
  for (int trial = 0; trial < 50; ++trial) {
    Record r = random_record(gen, 0, 0);
    const LossOptions o{.beta = 0.3};
    const auto plain = [&] {
      const double distance = o.beta * (r.chosen.policy - r.chosen.ref) - r.points.reward_mean;
      return -std::log(s(r.label ? distance : -distance));
    };
    const LossValue got = info("bco").function(r.view(), o);
    EXPECT_NEAR(got.loss, plain(), 1e-9 * (1 + got.loss));
    EXPECT_TRUE(got.d_rejected.empty());
    const double at = r.chosen.policy, h = 1e-5;
    r.chosen.policy = at + h;
    const double up = plain();
    r.chosen.policy = at - h;
    EXPECT_NEAR(got.d_chosen, (up - plain()) / (2 * h), 2e-6);
  }
}

TEST(Losses, BcoWithoutAMeanIsBcoPair) {
  std::mt19937 gen(17);
  Record r = random_record(gen, 3, 0);
  r.points = {};
  const LossValue a = info("bco").function(r.view(), {}), b = info("bco-pair").function(r.view(), {});
  EXPECT_DOUBLE_EQ(a.loss, b.loss);
  EXPECT_DOUBLE_EQ(a.d_chosen, b.d_chosen);
  EXPECT_EQ(a.d_rejected.size(), b.d_rejected.size());
}

// Several steps equal one large step; a row of weight two counts as two rows, of weight 0 as none; K rejected responses
// count as one.
TEST(RewardMean, IsTheMeanOfAllRewards) {
  std::mt19937 random(19);
  const double beta = 0.2;
  LossRow a = loss_row(random), b = loss_row(random), answer = loss_row(random), nothing = loss_row(random, 0);
  answer.num_rejected = 0;
  answer.branches.resize(1);
  b.branches.push_back(b.branches[1]);
  b.num_rejected = 2;
  b.beta = 0.5;
  const auto reward = [&](const LossRow& row, size_t k) {
    return implicit_reward(row.branches[k], row.beta > 0 ? row.beta : beta);
  };
  const double want = (2 * (reward(a, 0) + reward(a, 1)) + reward(b, 0) + reward(b, 1) + reward(answer, 0)) / 7;
  RewardMean mean;
  EXPECT_EQ(mean.with({}).mean, 0);
  a.weight = 2;
  for (const auto& step : {std::vector{a, nothing}, std::vector{b, answer}}) {
    RewardSums sums;
    for (const LossRow& row : step) sums.add(row, beta);
    mean = mean.with(sums);
  }
  EXPECT_NEAR(mean.mean, want, 1e-12);
  EXPECT_EQ(mean.count, 7);
}

}  // namespace
}  // namespace vpref

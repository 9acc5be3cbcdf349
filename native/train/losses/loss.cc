// SPDX-License-Identifier: Apache-2.0
#include "train/losses/loss.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "train/losses/functions.h"

namespace vpref {

namespace {

constexpr NamedHyperparameter kHyperparameters[] = {
    {"beta", &LossOptions::beta},
    {"label-smoothing", &LossOptions::label_smoothing},
    {"simpo-gamma", &LossOptions::simpo_gamma},
    {"cpo-alpha", &LossOptions::cpo_alpha},
    {"orpo-lambda", &LossOptions::orpo_lambda},
    {"desirable-weight", &LossOptions::desirable_weight},
    {"undesirable-weight", &LossOptions::undesirable_weight},
};

constexpr Hyperparameter kBeta = &LossOptions::beta, kSmoothing = &LossOptions::label_smoothing;

constexpr LossInfo kLosses[] = {
    {.name = "sigmoid",
     .function = sigmoid_loss,
     .reads = {kBeta, kSmoothing},
     .source = "Rafailov 2023, 2305.18290 eq. 7"},
    {.name = "sigmoid-norm",
     .function = sigmoid_norm_loss,
     .reads = {kBeta, kSmoothing},
     .source = "as trl sigmoid_norm: on token means"},
    {.name = "ipo", .function = ipo_loss, .reads = {kBeta}, .source = "Azar 2023, 2310.12036 eq. 17, on sums"},
    {.name = "ipo-token-mean", .function = ipo_token_mean_loss, .reads = {kBeta}, .source = "as trl: on token means"},
    {.name = "hinge",
     .function = hinge_loss,
     .reads = {kBeta},
     .source = "Zhao 2023, 2305.10425; Liu 2023, 2309.06657 eq. 9"},
    {.name = "robust",
     .function = robust_loss,
     .reads = {kBeta, kSmoothing},
     .source = "Chowdhury 2024, 2403.00409 eq. 12"},
    {.name = "exo",
     .function = exo_loss,
     .needs_smoothing = true,
     .reads = {kBeta, kSmoothing},
     .source = "Ji 2024, 2402.00856 eq. 16"},
    {.name = "bco-pair",
     .function = bco_pair_loss,
     .reads = {kBeta},
     .source = "Jung 2024, 2404.04656 eq. 7 without reward shift"},
    {.name = "bco",
     .function = bco_loss,
     .needs_rejected = false,
     .needs_reward_mean = true,
     .takes_both = true,
     .reads = {kBeta},
     .source = "Jung 2024, 2404.04656 eq. 7 with the running reward mean"},
    {.name = "nca", .function = nca_loss, .reads = {kBeta}, .source = "Chen 2024, 2402.05369"},
    {.name = "apo-zero", .function = apo_zero_loss, .reads = {kBeta}, .source = "D'Oosterlinck 2024, 2408.06266 eq. 7"},
    {.name = "apo-down", .function = apo_down_loss, .reads = {kBeta}, .source = "D'Oosterlinck 2024, 2408.06266 eq. 8"},
    {.name = "softmax", .function = softmax_loss, .reads = {kBeta}, .source = "Zhu 2024 (SeVa) eq. 18, K negatives"},
    {.name = "mdpo",
     .function = mdpo_loss,
     .needs_rejected_images = true,
     .reads = {kBeta},
     .source = "Wang 2024, 2406.11839 eq. 7"},
    {.name = "simpo",
     .function = simpo_loss,
     .needs_reference = false,
     .reads = {kBeta, kSmoothing, &LossOptions::simpo_gamma},
     .source = "Meng 2024, 2405.14734 eq. 6"},
    {.name = "odds-ratio",
     .function = odds_ratio_loss,
     .needs_reference = false,
     .source = "Hong 2024, 2403.07691 eq. 7"},
    {.name = "cpo-margin",
     .function = cpo_margin_loss,
     .needs_reference = false,
     .reads = {kBeta, kSmoothing},
     .source = "Xu 2024, 2401.08417 eq. 5"},
    {.name = "kto",
     .function = kto_loss,
     .needs_rejected = false,
     .needs_label = true,
     .needs_reference_point = true,
     .reads = {kBeta, &LossOptions::desirable_weight, &LossOptions::undesirable_weight},
     .source = "Ethayarajh 2024, 2402.01306 eq. 8"},
    {.name = "sft",
     .function = sft_loss,
     .average = Average::tokens,
     .needs_reference = false,
     .needs_rejected = false,
     .source = "token-mean negative log-likelihood"},
};

constexpr LossSum kSums[] = {
    {.name = "orpo",
     .parts = {{{"sft"}, {"odds-ratio", 1, &LossOptions::orpo_lambda}}},
     .source = "Hong 2024, 2403.07691 eq. 6"},
    {.name = "cpo",
     .parts = {{{"cpo-margin"}, {"sft", 1, &LossOptions::cpo_alpha}}},
     .source = "Xu 2024, 2401.08417 eq. 6"},
    {.name = "mpo",
     .parts = {{{"sigmoid", 0.8}, {"bco-pair", 0.2}, {"sft"}}},
     .source = "Wang 2024, 2411.10442 sec. 3.2"},
};

const LossInfo& find_loss(std::string_view name) {
  for (const LossInfo& info : kLosses) {
    if (info.name == name) return info;
  }
  std::string known;
  for (const LossInfo& info : kLosses) known += cat(known.empty() ? "" : ", ", info.name);
  for (const LossSum& sum : kSums) known += cat(", ", sum.name);
  throw Error("config", cat("loss: expected one of ", known, "; got ", name));
}

const LossSum* find_sum(std::string_view name) {
  for (const LossSum& sum : kSums) {
    if (sum.name == name) return &sum;
  }
  return nullptr;
}

double parse_weight(std::string_view item, std::string_view text) {
  const std::string number(text);
  char* end = nullptr;
  const double weight = std::strtod(number.c_str(), &end);
  check(!number.empty() && *end == 0 && weight > 0 && weight < 1e6, "config",
        "loss: expected NAME or NAME:WEIGHT with a positive weight, got ", item);
  return weight;
}

}  // namespace

std::span<const NamedHyperparameter> hyperparameters() { return kHyperparameters; }

std::span<const LossInfo> losses() { return kLosses; }

std::span<const LossSum> loss_sums() { return kSums; }

namespace {

// visit(name, weight) for every "NAME" or "NAME:WEIGHT" of the list.
template <class Visit>
void for_each_item(std::string_view text, Visit visit) {
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t colon = item.find(':');
    visit(item.substr(0, colon), colon == std::string_view::npos ? 1 : parse_weight(item, item.substr(colon + 1)));
    if (comma == std::string_view::npos) return;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

std::vector<LossTerm> parse_losses(std::string_view text, const LossOptions& options) {
  std::vector<LossTerm> terms;
  for_each_item(text, [&](std::string_view name, double weight) {
    const LossSum* sum = find_sum(name);
    if (!sum) return terms.push_back({&find_loss(name), weight});
    for (const LossSum::Part& part : sum->parts) {
      const double share = part.weight * (part.factor ? options.*part.factor : 1);
      if (!part.name.empty() && share > 0) terms.push_back({&find_loss(part.name), weight * share});
    }
  });
  return terms;
}

std::vector<std::string_view> hyperparameters_of(std::string_view text) {
  std::vector<Hyperparameter> read;
  const auto add = [&](const LossInfo& info) { read.insert(read.end(), info.reads.begin(), info.reads.end()); };
  for_each_item(text, [&](std::string_view name, double) {
    const LossSum* sum = find_sum(name);
    if (!sum) return add(find_loss(name));
    for (const LossSum::Part& part : sum->parts) {
      if (part.name.empty()) continue;
      add(find_loss(part.name));
      read.push_back(part.factor);
    }
  });
  std::vector<std::string_view> names;
  for (const NamedHyperparameter& h : kHyperparameters) {
    if (std::find(read.begin(), read.end(), h.value) != read.end()) names.push_back(h.name);
  }
  return names;
}

void check_loss_options(std::span<const LossTerm> terms, const LossOptions& o) {
  check(o.beta > 0, "config", "beta: expected a positive number, got ", o.beta);
  check(o.label_smoothing >= 0 && o.label_smoothing < 0.5, "config",
        "label_smoothing: expected a number in [0, 0.5), got ", o.label_smoothing);
  for (const LossTerm& term : terms) {
    check(!term.info->needs_smoothing || o.label_smoothing > 0, "config", "label_smoothing: loss ", term.info->name,
          " expects a number in (0, 0.5), got 0");
  }
}

}  // namespace vpref

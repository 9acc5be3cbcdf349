// SPDX-License-Identifier: Apache-2.0
#include "train/losses/loss.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "train/losses/list.h"

namespace vpref {

namespace {

constexpr HyperparameterInfo kHyperparameters[] = {
#define VPREF_HYPERPARAMETER_INFO(NAME, DEFAULT, ...) {#NAME, &LossOptions::NAME, DEFAULT, __VA_ARGS__},
    VPREF_HYPERPARAMETERS(VPREF_HYPERPARAMETER_INFO)
#undef VPREF_HYPERPARAMETER_INFO
};

#define VPREF_LOSS_INFO(NAME) &NAME##_info,
constexpr const LossInfo* kLosses[] = {VPREF_LOSSES(VPREF_LOSS_INFO)};
#undef VPREF_LOSS_INFO

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
  for (const LossInfo* info : kLosses) {
    if (info->name == name) return *info;
  }
  std::string known;
  for (const LossInfo* info : kLosses) known += cat(known.empty() ? "" : ", ", info->name);
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

std::string HyperparameterInfo::flag() const {
  std::string name(member);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::span<const HyperparameterInfo> hyperparameters() { return kHyperparameters; }

std::span<const LossInfo* const> losses() { return kLosses; }

std::span<const LossSum> loss_sums() { return kSums; }

namespace {

// Calls visit(name, weight) for every "NAME" or "NAME:WEIGHT" of the list.
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

std::vector<std::string> hyperparameters_of(std::string_view text) {
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
  std::vector<std::string> names;
  for (const HyperparameterInfo& h : kHyperparameters) {
    if (std::find(read.begin(), read.end(), h.value) != read.end()) names.push_back(h.flag());
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

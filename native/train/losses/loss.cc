// SPDX-License-Identifier: Apache-2.0
#include "train/losses/loss.h"

#include <cstdlib>

#include "core/error.h"
#include "train/losses/functions.h"

namespace vpref {

namespace {

constexpr LossInfo kLosses[] = {
    {.name = "sigmoid", .function = sigmoid_loss, .source = "Rafailov 2023, 2305.18290 eq. 7"},
    {.name = "sigmoid-norm", .function = sigmoid_norm_loss, .source = "as trl sigmoid_norm: on token means"},
    {.name = "ipo", .function = ipo_loss, .source = "Azar 2023, 2310.12036 eq. 17, on sums"},
    {.name = "ipo-token-mean", .function = ipo_token_mean_loss, .source = "as trl: on token means"},
    {.name = "hinge", .function = hinge_loss, .source = "Zhao 2023, 2305.10425; Liu 2023, 2309.06657 eq. 9"},
    {.name = "robust", .function = robust_loss, .source = "Chowdhury 2024, 2403.00409 eq. 12"},
    {.name = "exo", .function = exo_loss, .source = "Ji 2024, 2402.00856 eq. 16"},
    {.name = "bco-pair", .function = bco_pair_loss, .source = "Jung 2024, 2404.04656 eq. 7 without reward shift"},
    {.name = "nca", .function = nca_loss, .source = "Chen 2024, 2402.05369"},
    {.name = "apo-zero", .function = apo_zero_loss, .source = "D'Oosterlinck 2024, 2408.06266 eq. 7"},
    {.name = "apo-down", .function = apo_down_loss, .source = "D'Oosterlinck 2024, 2408.06266 eq. 8"},
    {.name = "softmax", .function = softmax_loss, .source = "Zhu 2024 (SeVa) eq. 18, K negatives"},
    {.name = "mdpo", .function = mdpo_loss, .needs_rejected_images = true, .source = "Wang 2024, 2406.11839 eq. 7"},
    {.name = "simpo", .function = simpo_loss, .needs_reference = false, .source = "Meng 2024, 2405.14734 eq. 6"},
    {.name = "odds-ratio", .function = odds_ratio_loss, .needs_reference = false, .source = "Hong 2024, 2403.07691 eq. 7"},
    {.name = "cpo-margin", .function = cpo_margin_loss, .needs_reference = false, .source = "Xu 2024, 2401.08417 eq. 5"},
    {.name = "kto", .function = kto_loss, .needs_rejected = false, .needs_label = true, .source = "Ethayarajh 2024, 2402.01306 eq. 8"},
    {.name = "sft",
     .function = sft_loss,
     .average = Average::tokens,
     .needs_reference = false,
     .needs_rejected = false,
     .source = "token-mean negative log-likelihood"},
};

const LossInfo& find_loss(std::string_view name) {
  for (const LossInfo& info : kLosses) {
    if (info.name == name) return info;
  }
  std::string known = "cpo, orpo, mpo";
  for (const LossInfo& info : kLosses) known += cat(", ", info.name);
  throw Error("config", cat("loss: expected one of ", known, "; got ", name));
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

std::span<const LossInfo> losses() { return kLosses; }

std::vector<LossTerm> parse_losses(std::string_view text, double cpo_alpha, double orpo_lambda) {
  std::vector<LossTerm> terms;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t colon = item.find(':');
    const std::string_view name = item.substr(0, colon);
    const double weight = colon == std::string_view::npos ? 1 : parse_weight(item, item.substr(colon + 1));
    if (name == "cpo") {
      terms.push_back({&find_loss("cpo-margin"), weight});
      if (cpo_alpha > 0) terms.push_back({&find_loss("sft"), weight * cpo_alpha});
    } else if (name == "orpo") {
      terms.push_back({&find_loss("sft"), weight});
      terms.push_back({&find_loss("odds-ratio"), weight * orpo_lambda});
    } else if (name == "mpo") {
      terms.push_back({&find_loss("sigmoid"), weight * 0.8});
      terms.push_back({&find_loss("bco-pair"), weight * 0.2});
      terms.push_back({&find_loss("sft"), weight});
    } else {
      terms.push_back({&find_loss(name), weight});
    }
    if (comma == std::string_view::npos) return terms;
    text.remove_prefix(comma + 1);
  }
}

void check_loss_options(std::span<const LossTerm> terms, const LossOptions& o) {
  check(o.beta > 0, "config", "beta: expected a positive number, got ", o.beta);
  check(o.label_smoothing >= 0 && o.label_smoothing < 0.5, "config",
        "label_smoothing: expected a number in [0, 0.5), got ", o.label_smoothing);
  for (const LossTerm& term : terms) {
    check(term.info->name != "exo" || o.label_smoothing > 0, "config",
          "label_smoothing: loss exo expects a number in (0, 0.5), got 0");
  }
}

}  // namespace vpref

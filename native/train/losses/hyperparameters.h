// SPDX-License-Identifier: Apache-2.0
// Every number that losses read, a row each: its member of LossOptions, its default, and its flag of train. To add one:
// its row here and its use in a loss; `make docs` writes the flag (src/engine/losses.ts).
#pragma once
#include <limits>
#include <string_view>

namespace vpref {

// How --help explains the flag, and what it takes: a number in [min, max] and larger than `above`.
struct HyperparameterFlag {
  std::string_view letter;  // of its value
  std::string_view summary;
  double min = -std::numeric_limits<double>::infinity();
  double above = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

}  // namespace vpref

// clang-format off
#define VPREF_HYPERPARAMETERS(ROW) \
  ROW(beta, 0.1, {.letter = "B", .summary = "inverse temperature of the implicit reward; larger keeps the policy closer to the reference", .above = 0}) \
  ROW(label_smoothing, 0, {.letter = "E", .summary = "share of pairs assumed flipped (cDPO; robust, exo)", .min = 0, .max = 0.5}) \
  ROW(simpo_gamma, 0.5, {.letter = "G", .summary = "simpo: target reward margin"}) \
  ROW(cpo_alpha, 1, {.letter = "A", .summary = "cpo: weight of the sft term", .min = 0}) \
  ROW(orpo_lambda, 0.1, {.letter = "L", .summary = "orpo: weight of the odds-ratio term", .min = 0}) \
  ROW(desirable_weight, 1, {.letter = "W", .summary = "kto: weight of desirable records", .min = 0}) \
  ROW(undesirable_weight, 1, {.letter = "W", .summary = "kto: weight of undesirable records", .min = 0})
// clang-format on

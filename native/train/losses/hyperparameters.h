// SPDX-License-Identifier: Apache-2.0
// Every hyperparameter of the losses, one row each: its member of LossOptions, its default, and its flag of train. To
// add one: a row here, and its use in a loss; `make docs` writes the flag (src/engine/losses.ts).
#pragma once
#include <limits>
#include <string_view>

namespace vpref {

// The flag's text in --help, and its range: a number in [min, max], larger than `above`.
struct HyperparameterFlag {
  std::string_view letter;  // placeholder of its value
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

// SPDX-License-Identifier: Apache-2.0
// A loss of the preference family: a pure function of per-branch log-probability sums. No tensors, no model, float64.
//
// A loss reads only sums, so its gradient is one number per branch, and every token of the branch gets the same weight.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/losses/hyperparameters.h"

namespace vpref {

// Sums over the scored tokens of one response, end token included, in nats.
struct ResponseLogps {
  double policy = 0;  // sum of log pi
  double ref = 0;     // sum of log pi_ref; 0 if the loss is reference-free
  int64_t num_tokens = 0;
};

// Quantities of a step's rows that are known before any row has a loss; constant in the gradient.
struct StepPoints {
  double kl = 0;           // kto: the batch's reference point z_0 >= 0
  double reward_mean = 0;  // bco: delta, the running mean of all rewards
};

// The branches of one record.
struct Preference {
  ResponseLogps chosen;                            // or the only response of an unpaired record
  std::span<const ResponseLogps> rejected;         // [K]; empty for unpaired records
  std::span<const ResponseLogps> rejected_images;  // [J] the chosen response behind damaged images; only mdpo
  bool label = true;                               // kto, and bco without rejected responses: desirable?
  StepPoints points;
};

struct LossOptions {
#define VPREF_LOSS_OPTION(NAME, DEFAULT, ...) double NAME = DEFAULT;
  VPREF_HYPERPARAMETERS(VPREF_LOSS_OPTION)
#undef VPREF_LOSS_OPTION
};

using Hyperparameter = double LossOptions::*;

// A row of VPREF_HYPERPARAMETERS.
struct HyperparameterInfo {
  std::string_view member;
  Hyperparameter value;
  double default_value;
  HyperparameterFlag how;
  std::string flag() const;  // the member's name with hyphens
};
std::span<const HyperparameterInfo> hyperparameters();

// Loss of one record and its gradient with respect to each policy sum.
struct LossValue {
  double loss = 0;
  double d_chosen = 0;
  std::vector<double> d_rejected;         // [K]
  std::vector<double> d_rejected_images;  // [J]; empty if the loss reads none
};

using LossFunction = LossValue (*)(const Preference&, const LossOptions&);

// How the records of a step are averaged.
enum class Average : uint8_t {
  records,  // sum / number of records
  tokens,   // sum / number of scored tokens of the chosen (or only) responses
};

// The inputs of a loss, so that a missing field, and a hyperparameter that it ignores, are refused before the first
// step.
struct LossInfo {
  std::string_view name;
  LossFunction function;
  Average average = Average::records;
  bool needs_reference = true;
  bool needs_rejected = true;
  bool needs_rejected_images = false;
  bool needs_label = false;
  bool needs_reference_point = false;  // StepPoints::kl
  bool needs_reward_mean = false;      // StepPoints::reward_mean
  bool takes_both = false;             // pairs, and responses with a label
  bool needs_smoothing = false;        // label_smoothing above 0
  std::array<Hyperparameter, 3> reads = {};
  std::string_view source = {};  // paper and equation
};

// One term of the objective.
struct LossTerm {
  const LossInfo* info;
  double weight;
};

std::span<const LossInfo* const> losses();

// A sum of losses that was published under its own name.
struct LossSum {
  struct Part {
    std::string_view name;
    double weight = 1;
    Hyperparameter factor = nullptr;  // multiplies the weight
  };
  std::string_view name;
  std::array<Part, 3> parts;  // unused parts have no name
  std::string_view source = {};
};
std::span<const LossSum> loss_sums();

// "sigmoid", "sigmoid:1,sft:0.1", "mpo". Throws Error{"config"} naming the unknown word and the known ones.
std::vector<LossTerm> parse_losses(std::string_view text, const LossOptions& options = {});
// The flags of the objective's hyperparameters. Throws as parse_losses does.
std::vector<std::string> hyperparameters_of(std::string_view text);

// Throws Error{"config"} if an option is out of a term's range.
void check_loss_options(std::span<const LossTerm> terms, const LossOptions& options);

// beta x (policy - reference): the implicit reward of a branch (2305.18290 sec. 4).
inline double implicit_reward(const ResponseLogps& b, double beta) { return beta * (b.policy - b.ref); }

}  // namespace vpref

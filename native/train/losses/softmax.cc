// SPDX-License-Identifier: Apache-2.0
// DPO with K negatives (SeVa, Zhu et al. 2024, eq. 18): -log of the softmax weight of the chosen reward. K = 1 is DPO.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue softmax_loss(const Preference& p, const LossOptions& o) {
  LossValue out;
  const double chosen = implicit_reward(p.chosen, o.beta);
  double largest = 0;  // the exponent of the chosen itself
  for (const ResponseLogps& b : p.rejected) largest = std::max(largest, implicit_reward(b, o.beta) - chosen);
  double sum = std::exp(-largest);
  for (const ResponseLogps& b : p.rejected) sum += std::exp(implicit_reward(b, o.beta) - chosen - largest);
  out.loss = largest + std::log(sum);
  for (const ResponseLogps& b : p.rejected) {
    const double weight = std::exp(implicit_reward(b, o.beta) - chosen - largest) / sum;
    out.d_rejected.push_back(o.beta * weight);
    out.d_chosen -= o.beta * weight;
  }
  return out;
}

}  // namespace

constinit const LossInfo softmax_info = {.name = "softmax",
                                         .function = softmax_loss,
                                         .reads = {&LossOptions::beta},
                                         .source = "Zhu 2024 (SeVa) eq. 18, K negatives"};

}  // namespace vpref

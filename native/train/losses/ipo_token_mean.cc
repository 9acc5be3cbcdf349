// SPDX-License-Identifier: Apache-2.0
// IPO on token means: each log-probability divided by its number of tokens, as trl computes it.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue ipo_token_mean_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(p.chosen, p.rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const double num_c = double(c.num_tokens), num_r = double(r.num_tokens);
    const double x = log_ratio(c) / num_c - log_ratio(r) / num_r - 1 / (2 * o.beta);
    return {x * x, 2 * x / num_c, -2 * x / num_r};
  });
}

}  // namespace

constinit const LossInfo ipo_token_mean_info = {.name = "ipo-token-mean",
                                                .function = ipo_token_mean_loss,
                                                .reads = {&LossOptions::beta},
                                                .source = "as trl: on token means"};

}  // namespace vpref

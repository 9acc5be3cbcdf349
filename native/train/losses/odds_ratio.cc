// SPDX-License-Identifier: Apache-2.0
// The odds-ratio term of ORPO (Hong et al. 2024, 2403.07691 eq. 7) on token-mean log-probabilities; "orpo" adds the SFT
// loss (eq. 6).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

// log odds of a probability given as its logarithm a < 0: a - log(1 - exp(a)); the derivative is 1 / (1 - exp(a)).
Slope log_odds(double a) {
  // A response of probability 1 has infinite odds; the clamp keeps the loss finite.
  a = std::min(a, -1e-12);
  const double log1mexp = a > -0.6931471805599453 ? std::log(-std::expm1(a)) : std::log1p(-std::exp(a));
  return {a - log1mexp, -1 / std::expm1(a)};
}

LossValue odds_ratio_loss(const Preference& p, const LossOptions&) {
  return over_rejected(p.chosen, p.rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const double num_c = double(c.num_tokens), num_r = double(r.num_tokens);
    const Slope odds_c = log_odds(c.policy / num_c), odds_r = log_odds(r.policy / num_r);
    const Slope s = smoothed_logistic(odds_c.value - odds_r.value, 0);
    return {s.value, s.derivative * odds_c.derivative / num_c, -s.derivative * odds_r.derivative / num_r};
  });
}

}  // namespace

constinit const LossInfo odds_ratio_info = {.name = "odds-ratio",
                                            .function = odds_ratio_loss,
                                            .needs_reference = false,
                                            .source = "Hong 2024, 2403.07691 eq. 7"};

}  // namespace vpref

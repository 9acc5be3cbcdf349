// SPDX-License-Identifier: Apache-2.0
// Scalar functions of several losses, numerically stable at both ends.
#pragma once
#include <algorithm>
#include <cmath>

#include "train/losses/loss.h"

namespace vpref {

inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
inline double log_sigmoid(double x) { return x >= 0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x)); }

// -log sigmoid(x) with a share e of flipped labels (cDPO), and its derivative.
struct Slope {
  double value;
  double derivative;
};
inline Slope smoothed_logistic(double x, double e) {
  return {-(1 - e) * log_sigmoid(x) - e * log_sigmoid(-x), e * sigmoid(x) - (1 - e) * sigmoid(-x)};
}

// Log-ratio of the policy to the reference.
inline double log_ratio(const ResponseLogps& b) { return b.policy - b.ref; }

// A loss of chosen and rejected separately, averaged over the K rejected branches: f(chosen, rejected) -> value and
// both derivatives with respect to the policy sums.
struct PairSlopes {
  double value;
  double d_chosen;
  double d_rejected;
};
template <class Fn>
LossValue over_rejected(const ResponseLogps& chosen, std::span<const ResponseLogps> all_rejected, Fn f) {
  LossValue out;
  const double k = double(all_rejected.size());
  for (const ResponseLogps& rejected : all_rejected) {
    const PairSlopes s = f(chosen, rejected);
    out.loss += s.value / k;
    out.d_chosen += s.d_chosen / k;
    out.d_rejected.push_back(s.d_rejected / k);
  }
  return out;
}

// A loss of the difference of log-ratios: f(d) -> Slope.
template <class Fn>
LossValue over_differences(const ResponseLogps& chosen, std::span<const ResponseLogps> rejected, Fn f) {
  return over_rejected(chosen, rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const Slope s = f(log_ratio(c) - log_ratio(r));
    return {s.value, s.derivative, -s.derivative};
  });
}

}  // namespace vpref

// SPDX-License-Identifier: Apache-2.0
#include "ops/sample_token.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "core/philox.h"

namespace vpref::cpu {
namespace {

double uniform_of(const SampleParams& p) {
  const auto words = philox4x32(p.seed, {p.position, p.branch, uint32_t(p.rng_key), uint32_t(p.rng_key >> 32)});
  return (double(words[0]) + 0.5) * 0x1p-32;
}

// The ids in order of decreasing logit, then increasing id, sorted only as far as needed.
class Ranking {
 public:
  Ranking(const float* logits, int64_t v, int32_t* ids) : logits_(logits), v_(v), ids_(ids) {
    std::iota(ids, ids + v, 0);
  }
  int32_t at(int64_t rank) {
    while (rank >= sorted_) extend();
    return ids_[rank];
  }

 private:
  void extend() {
    const int64_t end = std::min(v_, std::max<int64_t>(64, sorted_ * 8));
    const auto before = [this](int32_t a, int32_t b) {
      return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
    };
    if (end < v_) std::nth_element(ids_ + sorted_, ids_ + end, ids_ + v_, before);
    std::sort(ids_ + sorted_, ids_ + end, before);
    sorted_ = end;
  }
  const float* logits_;
  int64_t v_, sorted_ = 0;
  int32_t* ids_;
};

// weight[i] = exp((logit - max) / temperature); only ratios matter.
int32_t sample(const SampleParams& p, const float* logits, const float* weight, int64_t v, int32_t* ids) {
  Ranking ranking(logits, v, ids);
  const int64_t limit = p.top_k > 0 ? std::min<int64_t>(p.top_k, v) : v;
  double total = 0;
  if (limit == v)
    for (int64_t i = 0; i < v; ++i) total += double(weight[i]);
  else
    for (int64_t i = 0; i < limit; ++i) total += double(weight[ranking.at(i)]);
  int64_t kept = limit;
  if (p.top_p < 1.0f) {
    double sum = 0;
    for (kept = 0; kept < limit && (kept == 0 || sum < double(p.top_p) * total);)
      sum += double(weight[ranking.at(kept++)]);
    total = sum;
  }
  const double goal = uniform_of(p) * total;
  double sum = 0;
  for (int64_t i = 0; i < kept; ++i) {
    sum += double(weight[ranking.at(i)]);
    if (sum > goal) return ranking.at(i);
  }
  return ranking.at(kept - 1);  // because of rounding the sum stayed just below the goal
}

}  // namespace

void sample_token(Context& ctx, const Tensor& logits, const Tensor& params, const Tensor& token, const Tensor& logp) {
  const Kernels& k = kernels();
  const int64_t v = logits.dim(1), wide = padded(v);
  const int threads = threads_for(ctx, logits.dim(0), v);
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads * wide * 3) * sizeof(float)));
  std::atomic<int64_t> bad{-1};
  parallel_ranges(threads, logits.dim(0), 1, [&](int thread, int64_t begin, int64_t end) {
    float* copy = scratch + thread * wide * 3;
    float* weight = copy + wide;
    int32_t* ids = reinterpret_cast<int32_t*>(weight + wide);
    for (int64_t r = begin; r < end; ++r) {
      SampleParams p;
      std::memcpy(static_cast<void*>(&p), params.as<int32_t>() + r * kSampleWords, sizeof p);
      const float* in = read_row(k, logits, r, 0, v, copy);
      const float max = k.max(in, v);
      const double sum = k.sum_exp(in, max, 1.0f, v);
      if (!std::isfinite(max) || !std::isfinite(sum)) {  // NaN has no order
        bad = r;
        continue;
      }
      int32_t id;
      if (p.temperature == 0.0f) {
        id = int32_t(std::find(in, in + v, max) - in);
      } else {
        k.exp_scaled(in, max, 1.0f / p.temperature, 1.0f, weight, v);
        id = sample(p, in, weight, v, ids);
      }
      token.as<int32_t>()[r] = id;
      logp.as<float>()[r] = float(double(in[id]) - double(max) - std::log(sum));
    }
  });
  check(bad < 0, "nonfinite", "[sample_token] row ", bad.load(), ": the logits are not finite");
}

}  // namespace vpref::cpu

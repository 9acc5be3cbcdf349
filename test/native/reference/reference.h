// SPDX-License-Identifier: Apache-2.0
// Every op in plain float64 loops, written from its formula: the reference of the op tests.
#pragma once
#include <cstdint>
#include <vector>

#include "ops/adamw.h"
#include "ops/attention.h"
#include "ops/gelu.h"

namespace vpref::reference {

using Values = std::vector<double>;

// c[M,N] = alpha op(a) op(b) + beta c.
Values gemm(const Values& a, bool transpose_a, const Values& b, bool transpose_b, const Values& c, int64_t m, int64_t n,
            int64_t k, double alpha, double beta);

Values rms_norm(const Values& x, const Values& weight, int64_t t, int64_t d, double eps);
struct NormGradients {
  Values dx, dweight, dbias;
};
NormGradients rms_norm_backward(const Values& dy, const Values& x, const Values& weight, int64_t t, int64_t d,
                                double eps);
Values layer_norm(const Values& x, const Values& weight, const Values& bias, int64_t t, int64_t d, double eps);
NormGradients layer_norm_backward(const Values& dy, const Values& x, const Values& weight, int64_t t, int64_t d,
                                  double eps);

struct Rotation {
  std::vector<int32_t> positions;  // [P,T]
  Values inv_freq;                 // [D/2]
  std::vector<int32_t> axis;       // [D/2], or empty: the first
};
Values rope(const Values& x, const Rotation& rotation, int64_t heads, int64_t d, bool inverse);

Values swiglu(const Values& gate, const Values& up);
struct SwigluGradients {
  Values dgate, dup;
};
SwigluGradients swiglu_backward(const Values& dy, const Values& gate, const Values& up);

double gelu(Gelu kind, double x);
double gelu_slope(Gelu kind, double x);

struct Attention {
  Values out, lse;
};
Attention attention(const Values& q, const Values& k, const Values& v, const AttentionPlan& plan, int64_t heads,
                    int64_t kv_heads, int64_t d, double scale);
struct AttentionGradients {
  Values dq, dk, dv;
};
AttentionGradients attention_backward(const Values& dout, const Values& q, const Values& k, const Values& v,
                                      const AttentionPlan& plan, int64_t heads, int64_t kv_heads, int64_t d,
                                      double scale);

Values log_softmax(const Values& logits, int64_t rows, int64_t vocab);

struct AdamState {
  Values param, m, v;
};
void adamw(const AdamW& options, AdamState& state, const Values& grad);

}  // namespace vpref::reference

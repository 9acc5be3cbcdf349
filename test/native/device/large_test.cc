// SPDX-License-Identifier: Apache-2.0
// Offsets beyond 2^31 elements: the parameter store of LoRA r = 1024 on 13B has 4e9, and the KV cache of a large GPU
// has as many. Skipped if the GPU's memory is too small.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/arena.h"
#include "core/memory.h"
#include "ops/adamw.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/log_softmax.h"
#include "ops/rows.h"

namespace vpref {
namespace {

constexpr int64_t kTwo31 = int64_t(1) << 31;

class LargeTest : public testing::Test {
 protected:
  // The reason to skip if `bytes` do not fit, or "".
  std::string missing(size_t bytes) {
    try {
      const MemorySize memory = memory_size(Device::cuda);
      const size_t wanted = bytes + (size_t(2) << 30);
      return memory.free >= wanted ? ""
                                   : cat(wanted >> 20, " MiB of GPU memory wanted, ", memory.free >> 20, " are free");
    } catch (const Error& e) {
      return cat("no CUDA device: ", e.what());
    }
  }
  Tensor make(DType dtype, std::initializer_list<int64_t> shape) {
    Tensor t(nullptr, dtype, shape);
    buffers_.emplace_back(Device::cuda, t.bytes(), /*zero=*/true);
    t.data = buffers_.back().data();
    return t;
  }
  template <class T>
  std::vector<T> read(const Tensor& t, int64_t begin, int64_t count) {
    std::vector<T> host(static_cast<size_t>(count));
    copy_to_host(ctx, host.data(), t.as<T>() + begin, host.size() * sizeof(T));
    return host;
  }
  Tensor random_bf16(std::initializer_list<int64_t> shape, uint32_t seed) {
    const Tensor t = make(DType::bf16, shape);
    std::vector<bf16_t> host(size_t(t.numel()));
    for (bf16_t& v : host) v = to_bf16(float(int32_t(seed = seed * 1664525u + 1013904223u) >> 8) * 0x1p-23f);
    copy_to_device(ctx, t.data, host.data(), t.bytes());
    return t;
  }
  std::vector<uint16_t> bits(const Tensor& t, int64_t begin, int64_t count) { return read<uint16_t>(t, begin, count); }

  Context ctx{Device::cuda};

 private:
  std::vector<Buffer> buffers_;
};

TEST_F(LargeTest, AdamWUpdatesMoreThan2To31Parameters) {
  const int64_t n = kTwo31 + 70001;
  if (const std::string why = missing(18 * size_t(n)); !why.empty()) GTEST_SKIP() << why;
  const Tensor p = make(DType::f32, {n}), g = make(DType::f32, {n}), m = make(DType::f32, {n}),
               v = make(DType::f32, {n}), copy = make(DType::bf16, {n});
  fill(ctx, 2, p);
  fill(ctx, 1, g);
  EXPECT_EQ(sum_of_squares(ctx, g), double(n));
  adamw(ctx, {.lr = 0.5f, .weight_decay = 0, .step = 1, .grad_scale = 1}, p, g, m, v, &copy);
  for (const int64_t at : {int64_t(0), kTwo31 - 4, n - 8}) {
    for (const float x : read<float>(p, at, 8)) EXPECT_NEAR(x, 1.5f, 1e-5f) << at;
    for (const float x : read<float>(m, at, 8)) EXPECT_NEAR(x, 0.1f, 1e-6f) << at;
    for (const bf16_t x : read<bf16_t>(copy, at, 8)) EXPECT_NEAR(to_f32(x), 1.5f, 1e-2f) << at;
  }
  fill(ctx, 3, p);
  convert(ctx, p, copy);
  for (const int64_t at : {int64_t(0), kTwo31 - 4, n - 8})
    for (const bf16_t x : read<bf16_t>(copy, at, 8)) EXPECT_EQ(to_f32(x), 3.0f) << at;
}

// The same keys at the beginning and at the end of a cache give the same bits.
TEST_F(LargeTest, KeysAndValuesBeyond2To31ElementsGiveTheSameBits) {
  constexpr int64_t kHeads = 32, kSize = 128, kWidth = kHeads * kSize, kKeys = 200, kRows = kTwo31 / kWidth + 1000,
                    kQueries = 101;
  if (const std::string why = missing(8 * size_t(kRows * kWidth)); !why.empty()) GTEST_SKIP() << why;
  const Tensor k = make(DType::bf16, {kRows, kHeads, kSize}), v = make(DType::bf16, {kRows, kHeads, kSize});
  const Tensor new_k = random_bf16({kKeys, kWidth}, 1), new_v = random_bf16({kKeys, kWidth}, 2);
  for (const auto& [from, slab] : {std::pair{new_k, k}, {new_v, v}}) {
    for (const int64_t begin : {int64_t(0), kRows - kKeys}) {
      std::vector<int32_t> places(kKeys);
      for (int64_t i = 0; i < kKeys; ++i) places[size_t(i)] = int32_t(begin + i);
      const Tensor at = make(DType::i32, {kKeys});
      copy_to_device(ctx, at.data, places.data(), at.bytes());
      scatter_rows(ctx, from, at, slab.reshaped({kRows, kWidth}));
      const Tensor back = make(DType::bf16, {kKeys, kWidth});
      gather_rows(ctx, slab.reshaped({kRows, kWidth}), at, back);
      EXPECT_EQ(bits(back, 0, kKeys * kWidth), bits(from, 0, kKeys * kWidth));
    }
  }
  const Tensor q = random_bf16({kQueries, kHeads, kSize}, 3), dout = random_bf16({kQueries, kHeads, kSize}, 4);
  const Tensor dk = make(DType::bf16, {kRows, kHeads, kSize}), dv = make(DType::bf16, {kRows, kHeads, kSize});
  std::vector<std::vector<uint16_t>> results[2];
  for (int end = 0; end < 2; ++end) {
    const int32_t begin = end ? int32_t(kRows - kKeys) : 0;
    // One row as in decoding, the others as in prefill.
    const AttentionPlan plan{{{0, 1, 0, 1, true}, {1, int32_t(kQueries) - 1, 0, 1, true}}, {{begin, int32_t(kKeys)}}};
    const Tensor out = make(DType::bf16, {kQueries, kHeads, kSize}), lse = make(DType::f32, {kQueries, kHeads}),
                 dq = make(DType::bf16, {kQueries, kHeads, kSize});
    attention(ctx, {q, k, v}, plan, 0.088f, {out, lse});
    attention_backward(ctx, dout, {q, k, v}, {out, lse}, plan, 0.088f, {dq, dk, dv});
    results[end] = {bits(out, 0, out.numel()), bits(dq, 0, dq.numel()), bits(dk, begin * kWidth, kKeys * kWidth),
                    bits(dv, begin * kWidth, kKeys * kWidth)};
    EXPECT_NE(results[end][2], std::vector<uint16_t>(size_t(kKeys * kWidth), 0));
  }
  EXPECT_TRUE(results[0] == results[1]);
}

TEST_F(LargeTest, LogProbabilitiesOfMoreThan2To31LogitsAreCorrect) {
  constexpr int64_t kVocab = 32064, kRows = kTwo31 / kVocab + 500;
  if (const std::string why = missing(4 * size_t(kRows * kVocab)); !why.empty()) GTEST_SKIP() << why;
  const Tensor logits = make(DType::f32, {kRows, kVocab}), target = make(DType::i32, {kRows}),
               logp = make(DType::f32, {kRows});
  std::vector<float> last(kVocab, 0.0f);
  last[7] = 10.0f;
  copy_to_device(ctx, logits.rows(kRows - 1, 1).data, last.data(), last.size() * sizeof(float));
  std::vector<int32_t> targets(kRows, 7);
  copy_to_device(ctx, target.data, targets.data(), target.bytes());
  log_softmax_gather(ctx, logits, target, logp);
  const std::vector<float> got = read<float>(logp, 0, kRows);
  for (const int64_t row : {int64_t(0), kRows - 500, kRows - 2})
    EXPECT_NEAR(got[size_t(row)], -std::log(double(kVocab)), 1e-4);
  EXPECT_NEAR(got.back(), 10 - std::log(std::exp(10.0) + double(kVocab - 1)), 1e-4);
}

}  // namespace
}  // namespace vpref

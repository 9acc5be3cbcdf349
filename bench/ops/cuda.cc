// SPDX-License-Identifier: Apache-2.0
// Ops at the shapes of LLaVA-1.5-7B on a GPU: training on 8 pairs of P = 630, A = 60 packed into 6000 rows with LoRA r
// = 1024, and decoding.
#include <algorithm>
#include <cstdio>

#ifdef VPREF_CUDA
#include "backend/cuda/gemm_paths.h"
#endif
#include "bench.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "ops/adamw.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/gelu.h"
#include "ops/gemm.h"
#include "ops/layer_norm.h"
#include "ops/log_softmax.h"
#include "ops/packed_linear.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/rows.h"
#include "ops/sample_token.h"
#include "ops/swiglu.h"

namespace vpref::bench {
namespace {

#ifdef VPREF_FIBER  // some thousand times slower than a GPU: to try the bench itself
constexpr int64_t kPrompt = 70, kAnswer = 6, kPairs = 1, kHidden = 64, kMlp = 128, kHeads = 2, kHead = 32, kVocab = 512,
                  kRank = 8;
constexpr int64_t kImages = 1, kPatches = 33, kParameters = int64_t(1) << 12, kPool = int64_t(1) << 15;
#else
constexpr int64_t kPrompt = 630, kAnswer = 60, kPairs = 8, kHidden = 4096, kMlp = 11008, kHeads = 32, kHead = 128,
                  kVocab = 32064, kRank = 1024;
constexpr int64_t kImages = 16, kPatches = 577, kParameters = int64_t(1) << 27, kPool = int64_t(1) << 29;
#endif
constexpr double kRead = double(kParameters) * 2;  // several times the largest cache
constexpr int64_t kRows = kPairs * (kPrompt + 2 * kAnswer);

std::string cross(std::initializer_list<int64_t> sizes) {
  std::string text;
  for (int64_t n : sizes) text += cat(text.empty() ? "" : "x", n);
  return text;
}

int failures = 0;

// One op that fails leaves the others their time.
template <class Body>
void attempt(const char* name, Body body) {
  try {
    body();
  } catch (const Error& e) {
    ++failures;
    std::string text = e.what();
    for (char& c : text)
      if (c == '"' || c == '\\' || c < ' ') c = '\'';  // as JSON takes it
    std::printf("{\"op\":\"%s\",\"error\":\"%s\"}\n", name, text.c_str());
    std::fflush(stdout);
  }
}

// What a step reads once comes from memory, not from a cache that the runs before have filled: one of so many copies in
// turn.
int64_t copies_of(double bytes) { return std::clamp<int64_t>(int64_t(kRead / bytes), 1, 64); }

void forward_product(Context& ctx, int64_t t, int64_t k, int64_t n) {
  const bool reads = t <= 256;
  const double bytes = 2.0 * double(n * k);
  const int64_t copies = reads ? copies_of(bytes) : 1;
  const Data x(DType::bf16, {t, k}), w(DType::bf16, {copies * n, k}), y(DType::bf16, {t, n});
  int64_t turn = 0;
  const double s =
      median_seconds([&] { linear(ctx, x.view(), w.view().rows(turn++ % copies * n, n), nullptr, y.view()); }, 0.1);
  report(ctx, {"linear", cross({t, k, n}), "bf16", s, 2.0 * double(t * k * n), reads ? bytes : 0});
}

#ifdef VPREF_CUDA
// A decoding step's products: our kernel for skinny ones beside cuBLASLt. As in a step, weights come from memory: one
// of many in turn, 1 GiB in all.
void skinny_products(Context& ctx) {
  const Data pool(DType::bf16, {kPool});
  // The GPU copies for some 2 ms while the host queues the products: they would else be timed as slow as a host that
  // gives them one by one.
  const auto busy = [&] {
    for (int i = 0; i < 8; ++i)
      copy_on_device(ctx, pool.view().as<uint16_t>() + kPool / 2, pool.view().data, size_t(kPool));
  };
  const double busy_seconds = median_seconds(busy, 0.2);
  struct Product {
    int64_t k, n;
    bool added;  // y += 2 x w^T, the second half of LoRA
  };
  for (const Product& p : {Product{kHidden, kHidden},
                           {kHidden, 3 * kHidden},
                           {kHidden, 2 * kMlp},
                           {kMlp, kHidden},
                           {kHidden, kVocab},
                           {kHidden, kRank},
                           {kRank, kHidden, true}}) {
    const int64_t count = kPool / (p.k * p.n);
    for (int64_t t : {1, 2, 4, 8, 12, 16}) {
      const Data x(DType::bf16, {t, p.k}), y(DType::bf16, {t, p.n});
      const auto time = [&](const char* op, auto product) {
        const double all = median_seconds(
            [&] {
              busy();
              for (int64_t i = 0; i < count; ++i)
                product(x.view(), transposed({pool.view().as<uint16_t>() + i * p.k * p.n, DType::bf16, {p.n, p.k}}),
                        y.view(), p.added ? 2.0f : 1.0f, p.added ? 1.0f : 0.0f);
            },
            0.05);
        report(ctx, {op, cross({t, p.k, p.n}) + (p.added ? " beta 1" : ""), "bf16",
                     std::max(all - busy_seconds, 1e-9) / double(count), 0, 2.0 * double(p.k * p.n)});
      };
      time("skinny, own kernel", [&](auto&&... operands) { gemm(ctx, operands...); });
      time("skinny, cuBLASLt", [&](auto&&... operands) { cuda::gemm_cublaslt(ctx, operands...); });
    }
  }
}
#endif

// Packed weights in a decoding step: few rows read the codes, one of several matrices in turn; for more rows the weight
// is unpacked first.
void packed_products(Context& ctx, Packing packing) {
  const int64_t k = kHidden, n = kMlp;
  const Data from(DType::bf16, {n, k}), tile(DType::bf16, {n, k});
  std::vector<bf16_t> host(size_t(n * k));
  copy_to_host(ctx, host.data(), from.view().data, from.view().bytes());
  const size_t bytes = packed_bytes(packing, n, k);
  const Buffer rows(Device::cpu, bytes);
  PackedWeight w = packed_layout(packing, n, k, rows.data());
  std::vector<float> absmax(size_t(packing_units(w)));
  parallel_ranges(ctx.num_threads, packing_units(w), 1, [&](int, int64_t begin, int64_t end) {
    pack_units({host.data(), DType::bf16, {n, k}}, begin, end, w, absmax.data());
  });
  pack_scales(absmax.data(), w);
  std::vector<Buffer> memory((size_t(copies_of(double(bytes)))));
  std::vector<PackedWeight> weights;
  for (Buffer& b : memory) {
    b = Buffer(ctx.device, bytes);
    copy_to_device(ctx, b.data(), rows.data(), bytes);
    weights.push_back(packed_layout(packing, n, k, b.data()));
    weights.back().offset = w.offset;
  }
  size_t turn = 0;
  for (const int64_t t : {1, 4, 16}) {
    const Data x(DType::bf16, {t, k}), y(DType::bf16, {t, n});
    const double s =
        median_seconds([&] { packed_linear(ctx, x.view(), weights[turn++ % weights.size()], nullptr, y.view()); }, 0.1);
    report(ctx, {cat("linear ", packing_name(packing)), cross({t, k, n}), "bf16", s, 0, double(w.bytes())});
  }
  report(ctx, {cat("unpack ", packing_name(packing)), cross({n, k}), "bf16",
               median_seconds([&] { unpack_tile(ctx, weights[turn++ % weights.size()], 0, 0, tile.view()); }, 0.1), 0,
               double(w.bytes() + tile.view().bytes())});
}

void training_products(Context& ctx) {
  for (const auto& [k, n] : {std::pair{kHidden, kHidden}, {kHidden, kMlp}, {kMlp, kHidden}, {kHidden, kRank}})
    forward_product(ctx, kRows, k, n);
  const Data h(DType::bf16, {kRows, kRank}), b(DType::bf16, {kHidden, kRank}), y(DType::bf16, {kRows, kHidden}),
      a(DType::bf16, {kRank, kHidden});
  const double rank_flops = 2.0 * double(kRows * kRank * kHidden);
  report(ctx, {"gemm beta 1 (LoRA up)", cross({kRows, kRank, kHidden}), "bf16",
               median_seconds([&] { gemm(ctx, h.view(), transposed(b.view()), y.view(), 2, 1); }, 0.1), rank_flops});
  const Data da(DType::f32, {kRank, kHidden}), db(DType::f32, {kHidden, kRank});
  report(ctx, {"linear_backward_weight (LoRA A)", cross({kRank, kRows, kHidden}), "bf16",
               median_seconds([&] { linear_backward_weight(ctx, h.view(), y.view(), da.view(), nullptr); }, 0.1),
               rank_flops});
  report(ctx, {"linear_backward_weight (LoRA B)", cross({kHidden, kRows, kRank}), "bf16",
               median_seconds([&] { linear_backward_weight(ctx, y.view(), h.view(), db.view(), nullptr); }, 0.1),
               rank_flops});
  const Data w(DType::bf16, {kMlp, kHidden}), dy(DType::bf16, {kRows, kMlp}), dx(DType::bf16, {kRows, kHidden});
  report(ctx, {"linear_backward_input", cross({kRows, kMlp, kHidden}), "bf16",
               median_seconds([&] { linear_backward_input(ctx, dy.view(), w.view(), dx.view()); }, 0.1),
               2.0 * double(kRows * kMlp * kHidden)});
  // The frozen weight and the adapter's side by side in one product, as an alternative layout.
  forward_product(ctx, kRows, kHidden + kRank, kHidden);
}

void training_attention(Context& ctx) {
  AttentionPlan plan;
  double pairs_seen = 0;  // query-key pairs
  for (int32_t p = 0; p < kPairs; ++p) {
    const int32_t first = p * int32_t(kPrompt + 2 * kAnswer), at = int32_t(plan.ranges.size());
    plan.ranges.push_back({first, kPrompt});
    plan.spans.push_back({first, kPrompt, at, 1, true});
    for (int32_t branch = 0; branch < 2; ++branch) {
      const int32_t begin = first + int32_t(kPrompt + branch * kAnswer), range = int32_t(plan.ranges.size());
      plan.ranges.push_back({first, kPrompt});
      plan.ranges.push_back({begin, kAnswer});
      plan.spans.push_back({begin, kAnswer, range, 2, true});
    }
    pairs_seen +=
        double(kPrompt) * double(kPrompt) / 2 + 2 * (double(kPrompt * kAnswer) + double(kAnswer * kAnswer) / 2);
  }
  const double flops = 4.0 * pairs_seen * double(kHeads * kHead);  // what the tree needs
  const auto make = [] { return Data(DType::bf16, {kRows, kHeads, kHead}); };
  const Data q = make(), k = make(), v = make(), out = make(), dout = make(), dq = make(), dk = make(), dv = make(),
             lse(DType::f32, {kRows, kHeads});
  const std::string shape = "8 pairs of 630 + 2 x 60, 32 heads x 128";
  report(ctx,
         {"attention", shape, "bf16",
          median_seconds(
              [&] { attention(ctx, {q.view(), k.view(), v.view()}, plan, 0.088f, {out.view(), lse.view()}); }, 0.2),
          flops});
  report(ctx, {"attention_backward", shape, "bf16",
               median_seconds(
                   [&] {
                     attention_backward(ctx, dout.view(), {q.view(), k.view(), v.view()}, {out.view(), lse.view()},
                                        plan, 0.088f, {dq.view(), dk.view(), dv.view()});
                   },
                   0.2),
               2.5 * flops});
}

void vision_attention(Context& ctx) {
  constexpr int64_t images = kImages, rows = kPatches, heads = 16, size = 64;
  AttentionPlan plan;
  for (int32_t i = 0; i < images; ++i) {
    plan.ranges.push_back({i * int32_t(rows), int32_t(rows)});
    plan.spans.push_back({i * int32_t(rows), int32_t(rows), i, 1, false});
  }
  const auto make = [] { return Data(DType::bf16, {images * rows, heads, size}); };
  const Data q = make(), k = make(), v = make(), out = make();
  report(ctx, {"attention (vision)", "16 x 577, 16 heads x 64", "bf16",
               median_seconds([&] { attention(ctx, {q.view(), k.view(), v.view()}, plan, 0.125f, {out.view()}); }, 0.1),
               4.0 * double(images * heads * rows * rows * size)});
}

// `groups` prefixes, `each` branches on every one; bytes: each prefix and each branch's own rows once.
void decode_attention(Context& ctx, int64_t groups, int64_t each) {
  const int64_t own = kAnswer, rows = groups * (kPrompt + each * own), branches = groups * each;
  AttentionPlan plan;
  for (int64_t g = 0; g < groups; ++g) {
    const int32_t prefix = int32_t(g * (kPrompt + each * own));
    plan.paths.push_back({-1, 0, int32_t(kPrompt)});
    for (int64_t b = 0; b < each; ++b) {
      plan.spans.push_back({int32_t(g * each + b), 1, int32_t(plan.ranges.size()), 2, true, int32_t(g)});
      plan.ranges.push_back({prefix, int32_t(kPrompt)});
      plan.ranges.push_back({int32_t(prefix + kPrompt + b * own), int32_t(own)});
    }
  }
  const double bytes = 4.0 * double(rows * kHeads * kHead);
  const int64_t copies = copies_of(bytes);
  const Data q(DType::bf16, {branches, kHeads, kHead}), k(DType::bf16, {copies * rows, kHeads, kHead}),
      v(DType::bf16, {copies * rows, kHeads, kHead}), out(DType::bf16, {branches, kHeads, kHead});
  int64_t turn = 0;
  const auto step = [&] {
    const int64_t at = turn++ % copies * rows;
    attention(ctx, {q.view(), k.view().rows(at, rows), v.view().rows(at, rows)}, plan, 0.088f, {out.view()});
  };
  report(ctx, {"attention decode", std::to_string(groups) + " prefixes of 630 x " + std::to_string(each) + " branches",
               "bf16", median_seconds(step, 0.1), 0, bytes});
}

void rows(Context& ctx) {
  const Data x(DType::bf16, {kRows, kHidden}), y(DType::bf16, {kRows, kHidden}), z(DType::bf16, {kRows, kHidden}),
      w(DType::bf16, {kHidden}), rstd(DType::f32, {kRows});
  const double row_bytes = 2.0 * double(kRows * kHidden);
  const std::string shape = cross({kRows, kHidden});
  attempt("add_rms_norm", [&] {
    report(
        ctx,
        {"add_rms_norm", shape, "bf16",
         median_seconds(
             [&] { add_rms_norm(ctx, {x.view(), y.view(), x.view()}, w.view(), 1e-5f, z.view(), &rstd.view()); }, 0.1),
         0, 4 * row_bytes});
  });
  attempt("rms_norm_backward", [&] {
    report(ctx,
           {"rms_norm_backward", shape, "bf16",
            median_seconds(
                [&] { rms_norm_backward(ctx, y.view(), {x.view(), w.view(), rstd.view()}, z.view(), true, nullptr); },
                0.1),
            0, 4 * row_bytes});
  });
  attempt("add", [&] {
    report(ctx, {"add", shape, "bf16", median_seconds([&] { add(ctx, x.view(), y.view()); }, 0.1), 0, 3 * row_bytes});
  });
  attempt("rope", [&] {
    std::vector<int32_t> at(kRows);
    for (int64_t i = 0; i < kRows; ++i) at[size_t(i)] = int32_t(i % 750);
    const Data positions({1, kRows}, at), frequencies(DType::f32, {kHead / 2});
    const Tensor heads(x.view().data, DType::bf16, {kRows, kHeads, kHead});
    report(ctx, {"rope", shape, "bf16",
                 median_seconds([&] { rope(ctx, heads, {positions.view(), frequencies.view(), {}}); }, 0.1), 0,
                 2 * row_bytes});
  });
  attempt("gather_rows", [&] {
    std::vector<int32_t> index(kRows);
    for (int64_t i = 0; i < kRows; ++i) index[size_t(i)] = int32_t(i * 7919 % kVocab);
    const Data table(DType::bf16, {kVocab, kHidden}), at({kRows}, index);
    report(ctx, {"gather_rows", shape, "bf16",
                 median_seconds([&] { gather_rows(ctx, table.view(), at.view(), y.view()); }, 0.1), 0, 2 * row_bytes});
  });
  attempt("swiglu", [&] {
    const Data gate(DType::bf16, {kRows, kMlp}), up(DType::bf16, {kRows, kMlp}), out(DType::bf16, {kRows, kMlp});
    const double bytes = 2.0 * double(kRows * kMlp);
    report(ctx, {"swiglu", cross({kRows, kMlp}), "bf16",
                 median_seconds([&] { swiglu(ctx, gate.view(), up.view(), out.view()); }, 0.1), 0, 3 * bytes});
    report(ctx, {"swiglu_backward", cross({kRows, kMlp}), "bf16",
                 median_seconds(
                     [&] { swiglu_backward(ctx, out.view(), gate.view(), up.view(), gate.view(), up.view()); }, 0.1),
                 0, 5 * bytes});
  });
  attempt("layer_norm", [&] {
    const Data patches(DType::bf16, {kImages * kPatches, 1024}), out(DType::bf16, {kImages * kPatches, 1024}),
        weight(DType::bf16, {1024}), bias(DType::bf16, {1024});
    report(ctx,
           {"layer_norm", cross({kImages * kPatches, 1024}), "bf16",
            median_seconds(
                [&] { layer_norm(ctx, patches.view(), weight.view(), bias.view(), 1e-5f, out.view(), nullptr); }, 0.1),
            0, 4.0 * double(kImages * kPatches * 1024)});
  });
  attempt("gelu", [&] {
    const Data patches(DType::bf16, {kImages * kPatches, 4096}), out(DType::bf16, {kImages * kPatches, 4096});
    report(ctx, {"gelu quick", cross({kImages * kPatches, 4096}), "bf16",
                 median_seconds([&] { gelu(ctx, Gelu::quick, patches.view(), out.view()); }, 0.1), 0,
                 4.0 * double(kImages * kPatches * 4096)});
  });
}

void head(Context& ctx) {
  const int64_t r = 2 * kAnswer * kPairs;
  const Data logits(DType::f32, {r, kVocab}), logp(DType::f32, {r}), target({r}, std::vector<int32_t>(size_t(r), 7));
  attempt("log_softmax_gather", [&] {
    report(ctx, {"log_softmax_gather", cross({r, kVocab}), "f32",
                 median_seconds([&] { log_softmax_gather(ctx, logits.view(), target.view(), logp.view()); }, 0.1), 0,
                 4.0 * double(r * kVocab)});
  });
  for (int64_t rows : {int64_t(1), int64_t(64)}) {
    attempt("sample_token", [&] {
      const std::vector<SampleParams> params(size_t(rows), SampleParams{.temperature = 1, .top_p = 0.95f, .seed = 1});
      const Data token({rows}, std::vector<int32_t>(size_t(rows))), placed({rows, kSampleWords}, sample_words(params));
      const Tensor chunk = logits.view().rows(0, rows), p = logp.view().rows(0, rows);
      report(ctx, {"sample_token top-p 0.95", cross({rows, kVocab}), "f32",
                   median_seconds([&] { sample_token(ctx, chunk, placed.view(), token.view(), p); }, 0.1), 0,
                   4.0 * double(rows * kVocab)});
    });
  }
}

void optimizer(Context& ctx) {
  const int64_t n = kParameters;
  const Data p(DType::f32, {n}), g(DType::f32, {n}), m(DType::f32, {n}), v(DType::f32, {n}), copy(DType::bf16, {n});
  const AdamW options{.lr = 1e-4, .step = 10};
  report(ctx, {"adamw", std::to_string(n), "f32",
               median_seconds([&] { adamw(ctx, options, p.view(), g.view(), m.view(), v.view(), &copy.view()); }, 0.1),
               0, 30.0 * double(n)});
  report(ctx, {"sum_of_squares", std::to_string(n), "f32", median_seconds([&] { sum_of_squares(ctx, g.view()); }, 0.1),
               0, 4.0 * double(n)});
}

}  // namespace

int bench_cuda(Context& ctx) {
  attempt("training products", [&] { training_products(ctx); });
  attempt("attention", [&] { training_attention(ctx); });
  attempt("attention (vision)", [&] { vision_attention(ctx); });
  for (int64_t t : {1, 4, 16, 64, 256}) {
    attempt("linear", [&] { forward_product(ctx, t, kHidden, kMlp); });
    attempt("linear", [&] { forward_product(ctx, t, kMlp, kHidden); });
  }
#ifdef VPREF_CUDA
  attempt("skinny products", [&] { skinny_products(ctx); });
#endif
  attempt("linear nf4", [&] { packed_products(ctx, Packing::nf4); });
  attempt("linear int8", [&] { packed_products(ctx, Packing::int8); });
  attempt("attention decode", [&] { decode_attention(ctx, 1, 1); });
  attempt("attention decode", [&] { decode_attention(ctx, 64, 1); });
  attempt("attention decode", [&] { decode_attention(ctx, 16, 4); });
  attempt("rows", [&] { rows(ctx); });
  attempt("head", [&] { head(ctx); });
  attempt("optimizer", [&] { optimizer(ctx); });
  return failures;
}

}  // namespace vpref::bench

// SPDX-License-Identifier: Apache-2.0
// Captured steps: which are replayed or evicted, which work a capture refuses, and that a step that contradicts its
// signature is detected.
// Covers native/core/launch_graphs.cc native/backend/cuda/launch_graphs.cu
#include "core/launch_graphs.h"

#include <gtest/gtest.h>

#include <cuda_runtime.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/memory.h"
#include "fiber/stream.h"
#include "ops/elementwise.h"

namespace vpref {
namespace {

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code() + ": " + e.what();
  }
  return "";
}

class Graphs : public testing::Test {
 protected:
  void SetUp() override { fiber::set_deferred(true); }
  void TearDown() override {
    fiber::set_compares_graphs(false);
    fiber::set_deferred(false);
  }
  Tensor vector(float value) {
    buffers_.emplace_back(Device::cuda, 4 * kWidth);
    const Tensor t(buffers_.back().data(), DType::f32, {1, kWidth});
    put(t, value);
    return t;
  }
  void put(const Tensor& t, float value) {
    const std::vector<float> host(kWidth, value);
    copy_to_device(ctx, t.data, host.data(), t.bytes());
  }
  float first(const Tensor& t) {
    float value;
    copy_to_host(ctx, &value, t.data, 4);
    return value;
  }
  static constexpr int64_t kWidth = 40;
  Context ctx{Device::cuda};
  LaunchGraphs graphs{Device::cuda, true};
  std::vector<Buffer> buffers_;
};

// A replay runs the same kernels on the current contents of their addresses, in queue order.
TEST_F(Graphs, ReplaysReadTheCurrentContentsOfTheirInputs) {
  const Tensor x = vector(0), sum = vector(0), copy = vector(0);
  float expected = 0;
  for (int i = 1; i <= 6; ++i) {
    put(x, float(i));
    graphs.run(ctx, {7}, [&] {
      add(ctx, x, sum);
      copy_on_device(ctx, copy.data, sum.data, sum.bytes());
    });
    expected += float(i);
    if (i % 2 == 0) {
      EXPECT_EQ(first(copy), expected) << i;
    }
  }
  EXPECT_EQ(graphs.counts().steps, 6);
  EXPECT_EQ(graphs.counts().captured, 1);
  EXPECT_EQ(graphs.counts().replayed, 4);
  EXPECT_EQ(ctx.stream, nullptr);
}

// A difference that the signature omits is detected when launches are compared: another operand, another grid, an extra
// launch.
TEST_F(Graphs, AForgottenItemIsFound) {
  const Tensor x = vector(1), other = vector(2), sum = vector(0);
  fiber::set_compares_graphs(true);
  const auto run = [&](const std::function<void()>& step) { return error_of([&] { graphs.run(ctx, {1}, step); }); };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run([&] { add(ctx, x, sum); }), "");
  const std::string operand = run([&] { add(ctx, other, sum); });
  EXPECT_NE(operand.find("internal: a step of the same signature is another step: node 0"), std::string::npos)
      << operand;
  EXPECT_NE(operand.find("arguments differ"), std::string::npos) << operand;
  EXPECT_NE(run([&] { add(ctx, x.cols(0, 8), sum.cols(0, 8)); }).find("node 0"), std::string::npos);
  EXPECT_NE(run([&] { add(ctx, x, sum), add(ctx, x, sum); }).find("kept 1 nodes, now 2"), std::string::npos);
  EXPECT_EQ(run([&] { add(ctx, x, sum); }), "");
  EXPECT_EQ(first(sum), 4.0f);  // the wrong steps did not run
  // Without the comparison it is not detected: the captured launches run.
  fiber::set_compares_graphs(false);
  EXPECT_EQ(run([&] { add(ctx, other, sum); }), "");
  EXPECT_EQ(first(sum), 5.0f);
}

// A graph cannot replay any of these. A step that does one is a fault of the engine, and is named.
TEST_F(Graphs, WorkThatAGraphCannotReplayIsAnError) {
  const Tensor x = vector(1), sum = vector(0);
  Download download(Device::cuda);
  float host = 0;
  const std::pair<const char*, std::function<void()>> steps[] = {
      {"a copy to the device", [&] { copy_to_device(ctx, x.data, &host, 4); }},
      {"a copy to the host", [&] { copy_to_host(ctx, &host, x.data, 4); }},
      {"a copy to the host", [&] { download.start(ctx, x.data, 4); }},
      {"waiting for the device", [&] { synchronize(ctx); }},
      {"while launches are captured", [&] { ctx.workspace.get(ctx.workspace.capacity() + 1); }},
  };
  uint64_t number = 0;
  for (const auto& [message, step] : steps) {
    const LaunchGraphs::Signature signature{100 + number++};
    graphs.run(ctx, signature, step);
    const std::string error =
        error_of([&] { graphs.run(ctx, signature, [&, &step = step] { add(ctx, x, sum), step(); }); });
    EXPECT_EQ(error.substr(0, 9), "internal:") << error;
    EXPECT_NE(error.find(message), std::string::npos) << error;
    EXPECT_FALSE(ctx.capturing());
  }
  EXPECT_EQ(graphs.refusal(), "");
  EXPECT_EQ(first(sum), 0.0f);  // the captured work did not run
}

// A step that the driver refuses runs directly, and so do all later ones.
TEST_F(Graphs, StepsRunWithoutAGraphWhereTheDriverRefusesCapture) {
  const Tensor x = vector(1), sum = vector(0);
  for (int i = 0; i < 4; ++i)
    graphs.run(ctx, {1}, [&] {
      add(ctx, x, sum);
      void* p = nullptr;
      if (cudaMalloc(&p, 64) == cudaSuccess) cudaFree(p);
    });
  EXPECT_EQ(first(sum), 4.0f);
  EXPECT_EQ(graphs.counts().captured + graphs.counts().replayed, 0);
  EXPECT_NE(graphs.refusal().find("during capture"), std::string::npos) << graphs.refusal();
}

TEST_F(Graphs, OnlyTheLastUsedAreKept) {
  const Tensor x = vector(1), sum = vector(0);
  const auto run = [&](uint64_t signature) { graphs.run(ctx, {signature}, [&] { add(ctx, x, sum); }); };
  for (int i = 0; i < 3; ++i) run(1);
  for (uint64_t s = 2; s < 60; ++s) run(s), run(s);
  run(1);
  EXPECT_EQ(graphs.counts().replayed, 2);
  for (uint64_t s = 100; s < 300; ++s) run(s), run(s);
  run(1), run(1), run(1);  // counted as a first run again
  EXPECT_EQ(graphs.counts().replayed, 3);
  EXPECT_EQ(first(sum), float(graphs.counts().steps));
}

TEST_F(Graphs, EmulatedCaptureRefusesWhatCudaRefuses) {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal),
            cudaErrorStreamCaptureUnsupported);  // the default stream
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  const Tensor x = vector(1);
  void *pinned = nullptr, *p = nullptr;
  cudaMallocHost(&pinned, 64);
  const std::function<cudaError_t()> calls[] = {
      [&] { return cudaMalloc(&p, 64); },
      [&] { return cudaFree(x.data); },
      [&] { return cudaMallocHost(&p, 64); },
      [&] { return cudaMemset(x.data, 0, 4); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaStreamSynchronize(stream); },
      [&] { return cudaEventRecord(event); },
      [&] { return cudaEventSynchronize(event); },
      [&] { return cudaMemcpy(pinned, x.data, 4, cudaMemcpyDeviceToHost); },
      [&] { return cudaMemcpyAsync(pinned, x.data, 4, cudaMemcpyDeviceToHost, stream); },
      [&] { return cudaMemcpyAsync(x.data, pinned, 4, cudaMemcpyHostToDevice, stream); }};
  for (const auto& call : calls) {
    ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported) << &call - calls;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated) << &call - calls;
    EXPECT_EQ(graph, nullptr);
  }
  // A kernel on the default stream would run at once and be missing from the graph.
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_NE(error_of([&] { add(ctx, x, x); }).find("another stream"), std::string::npos);
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  cudaFreeHost(pinned);
  cudaEventDestroy(event);
  cudaStreamDestroy(stream);
  EXPECT_EQ(first(x), 1.0f);
}

TEST(GraphsOnTheCpu, NothingIsCaptured) {
  Context ctx(Device::cpu);
  LaunchGraphs graphs(Device::cpu, true);
  int runs = 0;
  for (int i = 0; i < 5; ++i) graphs.run(ctx, {1}, [&] { ++runs; });
  EXPECT_EQ(runs, 5);
  EXPECT_EQ(graphs.counts().steps, 5);
  EXPECT_EQ(graphs.counts().replayed, 0);
}

}  // namespace
}  // namespace vpref

// SPDX-License-Identifier: Apache-2.0
#include "core/launch_graphs.h"

#include <exception>

#include "backend/cuda/check.h"
#ifdef VPREF_FIBER
#include "fiber/stream.h"
#endif

namespace vpref::cuda {
namespace {

// A stream for captures, because the default stream, which everything else uses, cannot be captured.
struct CaptureStream {
  cudaStream_t stream = nullptr;
  ~CaptureStream() {
    if (stream) cudaStreamDestroy(stream);
  }
};

// Only one compute thread uses the device, so this thread_local is a singleton.
cudaStream_t capture_stream() {
  thread_local CaptureStream capture;
  if (!capture.stream) VPREF_CUDA_CHECK(cudaStreamCreateWithFlags(&capture.stream, cudaStreamNonBlocking));
  return capture.stream;
}

// While one lives, the context queues on the capture stream, and refuses work that a graph cannot replay.
class Capturing {
 public:
  Capturing(Context& ctx, cudaStream_t stream) : ctx_(ctx), before_(ctx.stream) {
    ctx.stream = stream;
    ctx.set_capturing(true);
  }
  ~Capturing() {
    ctx_.set_capturing(false);
    ctx_.stream = before_;
  }
  Capturing(const Capturing&) = delete;
  Capturing& operator=(const Capturing&) = delete;

 private:
  Context& ctx_;
  void* before_;
};

// Clears the error of the failed call; otherwise the next launch's check would throw it.
std::string message(cudaError_t status) {
  cudaGetLastError();
  return cudaGetErrorString(status);
}

}  // namespace

void* capture_graph(Context& ctx, const std::function<void()>& step, std::string& refusal) {
  const cudaStream_t stream = capture_stream();
  cudaError_t status = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (status != cudaSuccess) {
    refusal = message(status);
    return nullptr;
  }
  std::exception_ptr failure;
  try {
    const Capturing capturing(ctx, stream);
    step();
  } catch (const Error& e) {
    refusal = e.what();
    if (e.code() == "internal") failure = std::current_exception();
  } catch (...) {
    failure = std::current_exception();
  }
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  status = cudaStreamEndCapture(stream, &graph);
  if (status == cudaSuccess && !failure && refusal.empty()) status = cudaGraphInstantiate(&executable, graph, 0);
  if (status != cudaSuccess) {
    const std::string why = message(status);
    if (refusal.empty()) refusal = why;
  }
  if (graph) cudaGraphDestroy(graph);
  if (failure) {
    refusal.clear();
    std::rethrow_exception(failure);
  }
  return executable;
}

void launch_graph(Context& ctx, void* graph, [[maybe_unused]] const std::function<void()>& step) {
  const cudaGraphExec_t executable = static_cast<cudaGraphExec_t>(graph);
#ifdef VPREF_FIBER
  if (fiber::compares_graphs()) {
    std::string refusal;
    void* now = capture_graph(ctx, step, refusal);
    const std::string difference =
        now ? fiber::graph_difference(executable, static_cast<cudaGraphExec_t>(now)) : refusal;
    if (now) destroy_graph(now);
    check(difference.empty(), "internal", "a step of the same signature is another step: ", difference);
  }
#endif
  VPREF_CUDA_CHECK(cudaGraphLaunch(executable, stream_of(ctx)));
}

void destroy_graph(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

}  // namespace vpref::cuda

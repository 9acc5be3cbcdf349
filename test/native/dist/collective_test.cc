// SPDX-License-Identifier: Apache-2.0
// The collectives, with the number of ranks that started the program: one, or two under mpiexec (VPREF_TEST_RANKS).
// Covers native/dist/collective.cc native/dist/mpi.cc native/dist/mpi/table.cc
#include "dist/collective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <numeric>

#include "core/error.h"
#include "dist/mpi.h"
#include "dist/phase.h"
#ifdef VPREF_NCCL
#include "core/memory.h"
#include "dist/nccl.h"
#endif

namespace vpref {
namespace {

int num_ranks() {
  const char* text = std::getenv("VPREF_TEST_RANKS");
  return text ? std::atoi(text) : 1;
}

// MPI can be started once per process.
Collective& world() {
  static const std::unique_ptr<Collective> w =
      join_world({.size = num_ranks(), .device = Device::cpu, .library_folder = ""});
  return *w;
}

class Leave : public testing::Environment {
  void TearDown() override { world().leave(); }
};
const auto* const kLeave = testing::AddGlobalTestEnvironment(new Leave);

TEST(PartOf, CoversEveryElementOnceAtAlignedBegins) {
  for (const int64_t n : {0, 1, 15, 16, 17, 100, 4096, 100003}) {
    for (const int size : {1, 2, 3, 7}) {
      int64_t next = 0;
      for (int r = 0; r < size; ++r) {
        const Part part = part_of(n, r, size);
        EXPECT_EQ(part.begin, next) << n << " " << r << "/" << size;
        EXPECT_GE(part.size(), 0);
        if (part.size() > 0) {
          EXPECT_EQ(part.begin % 16, 0);
        }
        next = part.end;
      }
      EXPECT_EQ(next, n);
    }
  }
}

TEST(CollectiveRanks, HostCallsAgreeOnEveryRank) {
  Collective& w = world();
  ASSERT_EQ(w.size(), num_ranks());
  std::vector<double> values = {double(w.rank() + 1), -double(w.rank())};
  w.all_reduce(values, Reduce::sum);
  EXPECT_EQ(values[0], w.size() * (w.size() + 1) / 2.0);
  values = {double(w.rank()), -double(w.rank())};
  w.all_reduce(values, Reduce::max);
  EXPECT_EQ(values[0], w.size() - 1.0);
  EXPECT_EQ(values[1], 0.0);
  char text[8] = "rank ?";
  text[5] = char('0' + w.rank());
  w.broadcast(text, sizeof text, w.size() - 1);
  EXPECT_EQ(text[5], char('0' + w.size() - 1));
  const std::vector<std::string> all = w.all_gather(std::string(size_t(w.rank() * 3), 'x') + "!");  // lengths differ
  ASSERT_EQ(int(all.size()), w.size());
  for (int r = 0; r < w.size(); ++r) EXPECT_EQ(all[size_t(r)], std::string(size_t(r * 3), 'x') + "!");
  w.barrier();
}

std::vector<float> ramp(int64_t n, int rank) {
  std::vector<float> v(size_t(n), 0.0f);
  for (int64_t i = 0; i < n; ++i) v[size_t(i)] = float((i * 7 + rank * 13) % 101) / 8;  // sums are exact
  return v;
}
float sum_at(int64_t i, int size) {
  float sum = 0;
  for (int r = 0; r < size; ++r) sum += float((i * 7 + r * 13) % 101) / 8;
  return sum;
}

TEST(CollectiveRanks, FlatBuffersAreSummedByBuckets) {
  Collective& w = world();
  Context ctx(Device::cpu);
  for (const int64_t n : {1, 16, 40, 1000, 100003}) {
    std::vector<float> reduced = ramp(n, w.rank()), scattered = ramp(n, w.rank());
    const Volume before = w.volume();
    // Two collectives in flight at a time, polled between "layers".
    w.start_all_reduce(ctx, reduced.data(), n);
    w.progress();
    w.start_reduce_scatter(ctx, scattered.data(), n);
    w.progress();
    w.wait(ctx);
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(reduced[size_t(i)], sum_at(i, w.size())) << i << " of " << n;
    const Part mine = part_of(n, w.rank(), w.size());
    for (int64_t i = mine.begin; i < mine.end; ++i)
      ASSERT_EQ(scattered[size_t(i)], sum_at(i, w.size())) << i << " of " << n;
    w.start_all_gather(ctx, scattered.data(), n, DType::f32);
    w.wait(ctx);
    EXPECT_EQ(scattered, reduced) << n;
    EXPECT_EQ(w.volume().calls - before.calls, 3);
    EXPECT_EQ(w.volume().payload_bytes - before.payload_bytes, 3 * 4 * n);
    EXPECT_DOUBLE_EQ(w.volume().sent_bytes - before.sent_bytes, 4.0 * 4 * double(n) * (w.size() - 1) / w.size());
  }
}

TEST(CollectiveRanks, TwoByteValuesAreGathered) {
  Collective& w = world();
  Context ctx(Device::cpu);
  constexpr int64_t kCount = 50;
  std::vector<uint16_t> values(kCount, 0);
  const Part mine = part_of(kCount, w.rank(), w.size());
  for (int64_t i = mine.begin; i < mine.end; ++i) values[size_t(i)] = uint16_t(i * 3);
  w.start_all_gather(ctx, values.data(), kCount, DType::bf16);
  w.wait(ctx);
  for (int64_t i = 0; i < kCount; ++i) EXPECT_EQ(values[size_t(i)], uint16_t(i * 3));
}

// "code: message" of the error that a phase threw on this rank, or "".
std::string end_of_phase(Collective& w, const std::function<void()>& work) {
  try {
    run_phase(w, work);
  } catch (const Error& e) {
    return e.code() + ": " + e.what();
  }
  return "";
}

TEST(CollectiveRanks, AFailureOnOneRankEndsThePhaseOnAllRanks) {
  Collective& w = world();
  const bool is_last = w.rank() == w.size() - 1;
  EXPECT_EQ(end_of_phase(w, [] {}), "");
  const std::string failed = end_of_phase(w, [&] { check(!is_last, "config", "no room"); });
  if (w.size() == 1)
    EXPECT_EQ(failed, "config: no room");
  else
    EXPECT_EQ(failed, is_last ? cat("config: rank ", w.rank(), ": no room") : "peer: another rank failed");
  const std::string cancelled = "cancelled: the step was cancelled; no parameter was changed";
  EXPECT_EQ(end_of_phase(w,
                         [&] {
                           if (is_last) throw_cancelled();
                         }),
            cancelled);
  EXPECT_EQ(end_of_phase(w, [] {}), "");
}

TEST(CollectiveRanks, ANoticeReachesTheOthersWithinItsPhase) {
  Collective& w = world();
  const auto seen = [&] {
    for (int look = 0; look < 100000; ++look) {
      if (w.notified()) return true;
    }
    return false;
  };
  w.begin_phase();
  if (w.rank() == 0) w.notify();
  w.barrier();
  EXPECT_EQ(seen(), w.rank() != 0) << "the others see it, who sent it does not";
  w.barrier();
  if (w.rank() == 0) w.notify();
  w.barrier();
  w.begin_phase();
  EXPECT_FALSE(seen()) << "a notice of the phase before is dropped";
  w.barrier();
}

TEST(Mpi, MissingPartsAreNamed) {
  if (num_ranks() > 1) GTEST_SKIP() << "MPI is there";
  const char* folder = "/nowhere";
  try {
    mpi_library(folder);
    GTEST_SKIP() << "already open";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "dist");
    EXPECT_NE(std::string(e.what()).find("/nowhere/vpref_mpi.so: expected the MPI part of the engine, got nothing"),
              std::string::npos)
        << e.what();
  }
}

#ifdef VPREF_NCCL
TEST(Nccl, OneRankOnAGpuMakesTheSameCalls) {
  std::unique_ptr<Collective> nccl;
  try {
    device_free(Device::cuda, device_alloc(Device::cuda, 64));
    nccl = nccl_over(single_process());
  } catch (const Error& e) {
    GTEST_SKIP() << e.what();
  }
  Context ctx(Device::cuda);
  constexpr int64_t kCount = 1000;
  std::vector<float> values = ramp(kCount, 0), back(values.size());
  float* device = static_cast<float*>(device_alloc(Device::cuda, kCount * sizeof(float)));
  copy_to_device(ctx, device, values.data(), kCount * sizeof(float));
  nccl->start_all_reduce(ctx, device, kCount);
  nccl->start_reduce_scatter(ctx, device, kCount);
  nccl->start_all_gather(ctx, device, kCount, DType::f32);
  nccl->wait(ctx);
  copy_to_host(ctx, back.data(), device, kCount * sizeof(float));
  EXPECT_EQ(back, values);
  device_free(Device::cuda, device);
  nccl->leave();
}
#endif

}  // namespace
}  // namespace vpref

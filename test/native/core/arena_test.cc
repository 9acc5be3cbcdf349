// SPDX-License-Identifier: Apache-2.0
#include "core/arena.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "core/memory.h"

namespace vpref {
namespace {

TEST(Arena, HandsOutAlignedMemoryAndReusesItAfterRelease) {
  Arena arena(Device::cpu, 1024);
  const Tensor a = arena.tensor(DType::f32, {3});
  const size_t mark = arena.mark();
  const Tensor b = arena.tensor(DType::bf16, {5, 7});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data) % 64, 0u);
  EXPECT_EQ(static_cast<char*>(b.data) - static_cast<char*>(a.data), 64);
  EXPECT_EQ(arena.used(), 64u + 128u);
  arena.release(mark);
  EXPECT_EQ(arena.tensor(DType::u8, {1}).data, b.data);
  EXPECT_EQ(arena.peak(), 64u + 128u);
}

TEST(Arena, APlanThatIsTooSmallIsAnError) {
  Arena arena(Device::cpu, 128);
  arena.tensor(DType::f32, {32});
  try {
    arena.tensor(DType::u8, {1});
    FAIL() << "gave memory it does not have";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "memory");
  }
}

TEST(Measure, CountsAllocationsWithoutTouchingMemory) {
  Context ctx(Device::cpu);
  Arena arena(Device::cpu, 128);
  const Tensor before = arena.tensor(DType::u8, {4});
  std::memset(before.data, 7, 4);
  {
    const Measure measured(ctx, arena);
    EXPECT_TRUE(ctx.measuring());
    const size_t start = arena.mark();
    const Tensor a = arena.tensor(DType::f32, {1 << 20, 1 << 10});  // 4 GiB that are never allocated
    EXPECT_TRUE(a);
    copy_to_host(ctx, before.data, a.data, 4);
    copy_to_device(ctx, a.data, before.data, 4);
    copy_on_device(ctx, a.data, before.data, 4);
    write_to_device(ctx, a.data, 4, 4, [](void*, size_t, size_t) { FAIL() << "written"; });
    Download download(Device::cpu);
    download.start(ctx, a.data, size_t(4) << 30);
    arena.release(start);
    arena.tensor(DType::u8, {65});
    EXPECT_EQ(measured.bytes(), size_t(4) << 30);
    EXPECT_THROW(Measure(ctx, arena), Error);
  }
  EXPECT_FALSE(ctx.measuring());
  EXPECT_EQ(before.as<uint8_t>()[3], 7);
  EXPECT_EQ(arena.capacity(), 128u);
  EXPECT_EQ(arena.used(), 64u);
  EXPECT_EQ(arena.peak(), 64u);
}

TEST(Measure, MeasuringAlsoEndsAfterAnError) {
  Context ctx(Device::cpu);
  Arena arena(Device::cpu, 64);
  try {
    const Measure measured(ctx, arena);
    throw Error("shape", "as an op says");
  } catch (const Error&) {
  }
  EXPECT_FALSE(ctx.measuring());
  EXPECT_EQ(arena.capacity(), 64u);
}

TEST(Workspace, GrowsAndKeepsItsSize) {
  Workspace w(Device::cpu);
  void* first = w.get(100);
  EXPECT_EQ(w.get(64), first);
  EXPECT_GE(w.capacity(), 100u);
  w.get(100000);
  EXPECT_GE(w.capacity(), 100000u);
}

#ifndef VPREF_CUDA
TEST(Memory, CudaIsRefusedInABuildWithoutIt) { EXPECT_THROW(device_alloc(Device::cuda, 64), Error); }
#endif

}  // namespace
}  // namespace vpref

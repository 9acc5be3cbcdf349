// SPDX-License-Identifier: Apache-2.0
#include "core/arena.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/memory.h"

namespace vpref {
namespace {

TEST(Arena, HandsOutAlignedPiecesAndTakesThemBack) {
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

TEST(Arena, TooSmallAPlanIsAnError) {
  Arena arena(Device::cpu, 128);
  arena.tensor(DType::f32, {32});
  try {
    arena.tensor(DType::u8, {1});
    FAIL() << "gave memory it does not have";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "memory");
  }
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

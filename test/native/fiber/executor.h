// SPDX-License-Identifier: Apache-2.0
// Runs a CUDA kernel's own source on the CPU: every thread of a block is a fiber, blocks run one after another, and
// which warp moves next is drawn at random from a seed (VPREF_FIBER_SEED), so that code that lacks a barrier gives
// wrong results instead of lucky ones. What would be undefined on a GPU is an error here: a barrier that some threads
// never reach, a shuffle whose lanes do not all arrive.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace vpref::fiber {

using Where = std::source_location;

// --- host side
// ----------------------------------------------------------------------

// Every block of the grid, each thread running `thread`. Throws Error{"device"} for a launch no GPU would take and for
// what a kernel did wrong. dependent: each has to call grid_dependency_synchronize().
void run(dim3 grid, dim3 block, size_t shared_bytes, bool dependent, const std::function<void()>& thread);

// The order of warps, lanes and blocks of later runs follows from this; the first comes from VPREF_FIBER_SEED (1 if
// unset).
void set_seed(uint64_t seed);

// Kernels run since the program began.
uint64_t launches();

// True while a kernel runs.
bool in_kernel();

// --- called by threads
// ----------------------------------------------------------------------

// The block's dynamic shared memory, filled with 0xff (NaN) before each block.
void* dynamic_shared();

// Waits for the lanes of `mask`, which must all come from the same place; the last one runs resolve(mask, operands by
// lane).
using Resolve = void (*)(unsigned mask, void* const* operands);
void warp_collective(unsigned mask, void* operand, Resolve resolve, const Where& where);

// Waits for every thread of the block; returns how many gave a predicate that is not 0.
int block_barrier(int predicate, const Where& where);

// cp.async: the destination holds NaN from now on until this thread waits for the copy's group, which it must. Bytes
// beyond `valid` become 0.
void copy_later(void* to, const void* from, size_t bytes, size_t valid);
void commit_copies();
void wait_copies(int groups_left);

// Launches run one after another here: it only remembers that it was called.
void grid_dependency_synchronize();

int lane();
[[noreturn]] void fail(const char* message);

}  // namespace vpref::fiber

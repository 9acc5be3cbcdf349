// SPDX-License-Identifier: Apache-2.0
// The device's queue. By default work runs when it is given; deferred, it waits until somebody waits for it, as a GPU is behind its host: what the
// host changed or freed in between is then wrong in the results.
#pragma once
#include <cstdint>
#include <functional>

namespace vpref::fiber {

void set_deferred(bool on);  // turning it off runs what waits

// Kernels, copies and products, in the order given (all streams are one).
void enqueue(std::function<void()> work);

// Runs what was given up to `until` (a position(), or all of it). Throws what the work threw; the rest of the queue is then dropped.
void drain(uint64_t until = UINT64_MAX);
uint64_t position();

// For calls that must not throw: a failure comes out of the next drain().
void drain_quietly() noexcept;

}  // namespace vpref::fiber

// SPDX-License-Identifier: Apache-2.0
// One share of a step on every rank, with one end for all.
#pragma once
#include <functional>

#include "dist/collective.h"

namespace vpref {

// Runs one rank's share of a step. When it throws on any rank, it throws on all: there with its own error, elsewhere as
// "peer" or "cancelled".
void run_phase(Collective& world, const std::function<void()>& work);

// What a cancelled share throws.
[[noreturn]] void throw_cancelled();

}  // namespace vpref

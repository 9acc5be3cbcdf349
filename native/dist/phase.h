// SPDX-License-Identifier: Apache-2.0
// One share of a step on every rank; all ranks end it alike.
#pragma once
#include <functional>

#include "dist/collective.h"

namespace vpref {

// Runs one rank's share of a step. If it throws on any rank, it throws on all: on that rank its own error, on the
// others "peer" or "cancelled".
void run_phase(Collective& world, const std::function<void()>& work);

// The error of a cancelled share.
[[noreturn]] void throw_cancelled();

}  // namespace vpref

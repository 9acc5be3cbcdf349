// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "model/model.h"

namespace vpref {

// A number that changes with the addresses of the weights, and with the adapters that are on and their scales.
uint64_t weight_state(const Weights& weights);

}  // namespace vpref

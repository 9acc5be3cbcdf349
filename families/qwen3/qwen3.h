// SPDX-License-Identifier: Apache-2.0
// The decoder of qwen3, for every family that has one.
#pragma once
#include "families/llama/llama.h"

namespace vpref {

TextConfig parse_qwen3_text(const ConfigReader& config);

}  // namespace vpref

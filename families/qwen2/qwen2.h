// SPDX-License-Identifier: Apache-2.0
// The decoder of qwen2, for every family that has one.
#pragma once
#include "families/llama/llama.h"

namespace vpref {

TextConfig parse_qwen2_text(const ConfigReader& config);
// [L], of the Qwens: use_sliding_window, sliding_window, layer_types, max_window_layers (first_layer where it is
// absent).
std::vector<int32_t> parse_qwen_windows(const ConfigReader& config, int32_t num_layers, int32_t first_layer = 28);

}  // namespace vpref

// SPDX-License-Identifier: Apache-2.0
// The decoder of mistral, for every family that has one.
#pragma once
#include "families/llama/llama.h"

namespace vpref {

TextConfig parse_mistral_text(const ConfigReader& config);

}  // namespace vpref

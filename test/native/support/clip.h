// SPDX-License-Identifier: Apache-2.0
// CLIP's image processor, for tests and benches without a processor file.
#pragma once
#include "input/pixels.h"

namespace vpref {

constexpr Normalisation kClipNormalisation = {
    1.0 / 255.0, {0.48145466f, 0.4578275f, 0.40821073f}, {0.26862954f, 0.26130258f, 0.27577711f}};

}  // namespace vpref

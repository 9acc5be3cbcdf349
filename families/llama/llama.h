// SPDX-License-Identifier: Apache-2.0
// The Llama decoder, for every family that has one.
#pragma once
#include "families/family.h"

namespace vpref {

// model_type: what config.json may call this decoder.
TextConfig parse_llama_text(const ConfigReader& config, const char* model_type = "llama");
// Adds the decoder's tensors: group `text` holds embed_tokens, layers and norm; group `head` holds lm_head.
void list_llama_tensors(const TextConfig& config, Weights& weights, int text, int head, FamilyTensors& out);

}  // namespace vpref

// SPDX-License-Identifier: Apache-2.0
// Common unsupported checkpoints, with the nearest supported family.

/** model_type -> the nearest family. */
const NEAREST: readonly [RegExp, string][] = [
  [/^qwen3_vl_moe|^qwen3_omni|^qwen3_5/, 'qwen3_vl (its dense models)'],
  [/^qwen2_5_omni/, 'qwen2_5_vl'],
  [/^qwen3/, 'qwen3 (its dense models)'],
  [/^qwen2_moe|^qwen2_audio|^qwen$/, 'qwen2'],
  [/^(mixtral|ministral|mistral3|pixtral)/, 'mistral for text, llava_next with a Mistral decoder for images'],
  [
    /^(llava_llama|llava_mistral|llava_qwen|bunny|mobilevlm)/,
    "llava or llava_next in Hugging Face's layout (the llava-hf checkpoints)",
  ],
  [/^(llava_next_video|video_llava|llava_onevision)/, 'llava_next (images, no video)'],
  [/^(llava|vipllava|bakllava)/, 'llava'],
  [/^(idefics|smolvlm)/, 'idefics3, smolvlm'],
  [
    /^(internvl|minicpmv|phi3_v|phi4_multimodal|kimi_vl|ovis|glm4v|gemma3|gemma4|paligemma|mllama|aya_vision|molmo)/,
    'qwen2_5_vl',
  ],
  [/^(gemma|phi|glm|olmo|llama4|deepseek|granite|cohere|gpt|falcon|smollm)/, 'llama, qwen2, qwen3, mistral'],
];

/** Advice for a checkpoint of this model_type. */
export function adviceFor(modelType: string): string {
  const nearest = NEAREST.find(([pattern]) => pattern.test(modelType))?.[1];
  const near = nearest === undefined ? '' : `; the nearest is ${nearest}`;
  return `${near}; \`sample --endpoint URL\` gets responses from a server that runs it, such as vLLM`;
}

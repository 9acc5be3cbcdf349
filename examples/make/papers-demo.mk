# SPDX-License-Identifier: Apache-2.0
# papers.mk at the size of the bundled model: the settings of `make -f examples/make/papers.mk demo`.
VPREF    ?= node $(examples)/../bin/run.js
demo     := fixtures/demo/data
MODEL    ?= fixtures/demo/tiny-llava
DIR      ?= runs/papers-demo
DATA     ?= $(DIR)/sources/data.json
IMAGES   ?= $(DIR)/sources/images
SOURCE   ?= captions+objects
SOURCES  ?= captions objects
SIZE     ?= 160
SIZES    ?= 40 80 320
SOURCE_SIZES ?= 160
STEP     ?= 500
STEPS    ?= 100 300 700 900
LORA_R   ?= 64
LORA_RS  ?= 8 256
BETAS    ?= 0.02 0.5
LOSSES   ?= ipo hinge
# Only views that help on this model: MoCo and the others do not (METHODS.md).
NEGATIVE_OPS ?= diffusion:step=500 diffusion:step=700 diffusion:step=900
BASE_SEEDS ?= 0 1 2
CONTINUED ?= 160
CONTINUED_SOURCE_SIZE ?= 0
JUDGE    ?= truth
JUDGES   ?= self
FLIPS    ?= 0.25 0.5
SHARES   ?= 25 50
JUDGE_truth ?= exec:node $(examples)/truth-judge.mjs $(demo)/preference
GUIDE_self ?= yes-no
PAIR_self ?= --rule score --metrics yes --margin 0.1
ANNOTATE ?= --no-cache
SFT_FROM ?= reference
SAMPLE_seva ?= --views all --max-new-tokens 64
SAMPLE_judged ?= -n 4 --temperature 0.9 --max-new-tokens 64
PAIR_seva ?= --rule seva
PAIR_dpo ?= --rule score --margin 2
PAIR_rs  ?= --rule sft --from best
PAIR_sft ?= --rule sft --from reference
PAIR_continued ?= --rule sft --from reference
PAIR_steerlm ?= --rule steerlm
REF_seva ?=
REF_dpo  ?=
LORA     ?= --lora-r $(LORA_R) --lora-alpha $(shell expr 2 \* $(LORA_R))
training := --batch-size 8 --warmup-ratio 0.05 --lr 2e-4
TRAIN_seva ?= $(training)
TRAIN_dpo ?= $(training)
TRAIN_steerlm ?= --method sft $(training)
TRAIN_rs ?= --method sft $(training)
TRAIN_sft ?= --method sft $(training)
TRAIN_continued ?= --method sft --loss-on all $(training)
QUESTIONS_pope ?= $(demo)/test/pope_adversarial.json
IMAGES_pope ?= $(demo)/test/images
SAMPLE_pope ?= --max-new-tokens 8
QUESTIONS_hallucination ?= $(demo)/test/captions.jsonl
IMAGES_hallucination ?= $(demo)/test/images
SAMPLE_hallucination ?= --max-new-tokens 96

# Two sources from the demo's dialogues, each with two questions per image.
$(DIR)/sources/data.json:
	node $(examples)/demo-sources.mjs $(demo)/preference $(@D)

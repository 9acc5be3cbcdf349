# SPDX-License-Identifier: Apache-2.0
# Compares sources of preferences: equal numbers of pairs made in four ways from the same questions, and a model trained on each in the same way.
#   fixed: the response to a copy with one noise step (SeVa)      gap: of several noise steps, the response within a band of log-probability
#   claims: of four responses, the one with fewer claims that the model doubts      truth: of four responses, graded by the contents of the images
#   nice make -f examples/make/choices.mk SEED=0 DIR=runs/choices/0      on the bundled model; then bench/choices.ts over the folders of several seeds
# After an interruption, rerun make: it resumes.
MODEL     ?= fixtures/demo/tiny-llava
DATA      ?= fixtures/demo/data
SEED      ?= 0
DIR       ?= runs/choices/$(SEED)
QUESTIONS ?= 800
PAIRS     ?= 300
STEP      ?= 500
LADDER    ?= 300 500 700 850
GAP       ?= 3..12
TRAIN     ?= --lora-r 64 --lora-alpha 128 --lr 5e-5 --batch-size 16 --warmup-ratio 0.05
VPREF     ?= vpref

examples := $(dir $(lastword $(MAKEFILE_LIST)))..
pictures := $(DATA)/preference
test     := $(DATA)/test
ways     := fixed gap claims truth
every    := --seed $(SEED) --max-pairs $(PAIRS)

all: $(foreach run,before $(ways),$(foreach set,short long pope,$(DIR)/$(run).$(set).scores.ndjson))

$(DIR):
	mkdir -p $@

$(DIR)/prompts.ndjson: | $(DIR)
	$(VPREF) import llava $(pictures)/llava_conversations.json --image-root $(pictures)/images --turns 4 --limit $(QUESTIONS) -o $@ --resume

$(DIR)/test.pope.ndjson: | $(DIR)
	$(VPREF) import pope $(test)/pope_random.json $(test)/pope_popular.json $(test)/pope_adversarial.json --image-root $(test)/images -o $@ --resume

$(DIR)/test.short.ndjson: | $(DIR)
	node $(examples)/caption-prompts.mjs $(test)/captions.jsonl $(test)/images "Describe the image." > $@.part && mv $@.part $@

$(DIR)/test.long.ndjson: | $(DIR)
	node $(examples)/caption-prompts.mjs $(test)/captions.jsonl $(test)/images "Describe the image in detail." > $@.part && mv $@.part $@

# --- responses to views, and to the image alone ---

$(DIR)/views.ndjson: $(DIR)/prompts.ndjson
	$(VPREF) augment $(foreach step,$(LADDER),--op diffusion:step=$(step),name=n$(step)) --seed $(SEED) $< -o $@ --resume

$(DIR)/ladder.ndjson: $(DIR)/views.ndjson
	$(VPREF) sample --model $(MODEL) --views all --max-new-tokens 64 $< -o $@ --resume

$(DIR)/ladder.scored.ndjson: $(DIR)/ladder.ndjson
	$(VPREF) score --model $(MODEL) --view original $< -o $@ --resume

$(DIR)/four.ndjson: $(DIR)/prompts.ndjson
	$(VPREF) sample --model $(MODEL) -n 4 --temperature 0.9 --max-new-tokens 64 --seed $(SEED) $< -o $@ --resume

$(DIR)/checked.ndjson: $(DIR)/four.ndjson
	$(VPREF) annotate --judge local:$(MODEL) --guide $(examples)/demo-claims.md --claims "exec:node $(examples)/object-claims.mjs $(DATA)/classes.json" --no-cache $< -o $@ --resume

$(DIR)/graded.ndjson: $(DIR)/four.ndjson
	$(VPREF) annotate --judge "exec:node $(examples)/truth-judge.mjs $(pictures)" --guide helpsteer --no-cache $< -o $@ --resume

# --- pairs, as many of each ---

$(DIR)/fixed.ndjson: $(DIR)/ladder.ndjson
	$(VPREF) pair $(every) --rule seva --views n$(STEP) $< > $@.part && mv $@.part $@

$(DIR)/gap.ndjson: $(DIR)/ladder.scored.ndjson
	$(VPREF) pair $(every) --rule gap --gap $(GAP) $< > $@.part && mv $@.part $@

$(DIR)/claims.ndjson: $(DIR)/checked.ndjson
	$(VPREF) pair $(every) --rule score --by claims $< > $@.part && mv $@.part $@

$(DIR)/truth.ndjson: $(DIR)/graded.ndjson
	$(VPREF) pair $(every) --rule score --margin 2 $< > $@.part && mv $@.part $@

# --- training and responses, the same for all ---

define trained
$(DIR)/$1.ref.ndjson: $(DIR)/$1.ndjson
	@pairs=$$$$(wc -l < $$<); [ "$$$$pairs" -eq $(PAIRS) ] || { echo "$$<: expected $(PAIRS) pairs, got $$$$pairs: set PAIRS or QUESTIONS" >&2; exit 1; }
	$(VPREF) precompute-ref --model $(MODEL) $$< -o $$@ --resume

$(DIR)/$1.adapter/adapter_model.safetensors: $(DIR)/$1.ref.ndjson
	$(VPREF) train $$< --model $(MODEL) $(TRAIN) --seed $(SEED) --save-every 20 -o $(DIR)/$1.adapter --resume >> $(DIR)/$1.metrics.ndjson
endef
$(foreach way,$(ways),$(eval $(call trained,$(way))))

# Responses of $1 with the flags $2; needs $3.
define answers
$(DIR)/$1.%.ndjson: $(DIR)/test.%.ndjson $3
	$(VPREF) sample --model $(MODEL) $2 --max-new-tokens 96 $$< -o $$@ --resume

$(DIR)/$1.short.scores.ndjson $(DIR)/$1.long.scores.ndjson: %.scores.ndjson: %.ndjson
	$(VPREF) eval hallucination $$< --labels $(test)/captions.jsonl > $$@.part && mv $$@.part $$@

$(DIR)/$1.pope.scores.ndjson: $(DIR)/$1.pope.ndjson
	$(VPREF) eval pope $$< --labels $(test)/pope_random.json $(test)/pope_popular.json $(test)/pope_adversarial.json > $$@.part && mv $$@.part $$@
endef
$(eval $(call answers,before,,))
$(foreach way,$(ways),$(eval $(call answers,$(way),--adapter $(DIR)/$(way).adapter,$(DIR)/$(way).adapter/adapter_model.safetensors)))

.PHONY: all
.SECONDARY:

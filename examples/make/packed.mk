# SPDX-License-Identifier: Apache-2.0
# Compares SeVa on the full base and on quantised ones: each base samples, makes its pairs, is trained on them and tested, in one quantization.
#   nice make -f examples/make/packed.mk SEED=0 DIR=runs/packed/0      on the bundled model; one folder per seed
#   for seed in 0 1 2; do nice make -f examples/make/packed.mk SEED=$seed DIR=runs/packed/$seed; done
# FORMS="none int8 nf4" adds int8; bench/packed-seeds.ts makes a table of several seeds.
# After an interruption, rerun make: it resumes.
MODEL     ?= fixtures/demo/tiny-llava
DATA      ?= fixtures/demo/data
SEED      ?= 0
DIR       ?= runs/packed/$(SEED)
FORMS     ?= none nf4
QUESTIONS ?= 800
PAIRS     ?= 300
STEP      ?= 500
TRAIN     ?= --lora-r 64 --lora-alpha 128 --lr 5e-5 --batch-size 16 --warmup-ratio 0.05
VPREF     ?= vpref

examples := $(dir $(lastword $(MAKEFILE_LIST)))..
pictures := $(DATA)/preference
test     := $(DATA)/test

all: $(foreach form,$(FORMS),$(foreach run,before after,$(foreach set,short pope,$(DIR)/$(form).$(run).$(set).scores.ndjson)))

$(DIR):
	mkdir -p $@

$(DIR)/prompts.ndjson: | $(DIR)
	$(VPREF) import llava $(pictures)/llava_conversations.json --image-root $(pictures)/images --turns 4 --limit $(QUESTIONS) -o $@ --resume

$(DIR)/views.ndjson: $(DIR)/prompts.ndjson
	$(VPREF) augment --op diffusion:step=$(STEP),name=noisy --seed $(SEED) $< -o $@ --resume

$(DIR)/test.pope.ndjson: | $(DIR)
	$(VPREF) import pope $(test)/pope_random.json $(test)/pope_popular.json $(test)/pope_adversarial.json --image-root $(test)/images -o $@ --resume

$(DIR)/test.short.ndjson: | $(DIR)
	node $(examples)/caption-prompts.mjs $(test)/captions.jsonl $(test)/images "Describe the image." > $@.part && mv $@.part $@

define of_form
$(DIR)/$1.answers.ndjson: $(DIR)/views.ndjson
	$(VPREF) sample --model $(MODEL) --quantize $1 --views all --max-new-tokens 64 $$< -o $$@ --resume

$(DIR)/$1.pairs.ndjson: $(DIR)/$1.answers.ndjson
	$(VPREF) pair --seed $(SEED) --max-pairs $(PAIRS) --rule seva --views noisy $$< > $$@.part && mv $$@.part $$@

$(DIR)/$1.ref.ndjson: $(DIR)/$1.pairs.ndjson
	$(VPREF) precompute-ref --model $(MODEL) --quantize $1 $$< -o $$@ --resume

$(DIR)/$1.adapter/adapter_model.safetensors: $(DIR)/$1.ref.ndjson
	$(VPREF) train $$< --model $(MODEL) --quantize $1 $(TRAIN) --seed $(SEED) --save-every 20 -o $(DIR)/$1.adapter --resume >> $(DIR)/$1.metrics.ndjson

$(DIR)/$1.before.%.ndjson: $(DIR)/test.%.ndjson
	$(VPREF) sample --model $(MODEL) --quantize $1 --max-new-tokens 96 $$< -o $$@ --resume

$(DIR)/$1.after.%.ndjson: $(DIR)/test.%.ndjson $(DIR)/$1.adapter/adapter_model.safetensors
	$(VPREF) sample --model $(MODEL) --quantize $1 --adapter $(DIR)/$1.adapter --max-new-tokens 96 $$< -o $$@ --resume

$(DIR)/$1.before.short.scores.ndjson $(DIR)/$1.after.short.scores.ndjson: %.scores.ndjson: %.ndjson
	$(VPREF) eval hallucination $$< --labels $(test)/captions.jsonl > $$@.part && mv $$@.part $$@

$(DIR)/$1.before.pope.scores.ndjson $(DIR)/$1.after.pope.scores.ndjson: %.scores.ndjson: %.ndjson
	$(VPREF) eval pope $$< --labels $(test)/pope_random.json $(test)/pope_popular.json $(test)/pope_adversarial.json > $$@.part && mv $$@.part $$@
endef
$(foreach form,$(FORMS),$(eval $(call of_form,$(form))))

.PHONY: all
.SECONDARY:

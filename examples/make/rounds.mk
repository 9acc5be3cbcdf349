# SPDX-License-Identifier: Apache-2.0
# Rounds of alignment: round n samples with the best round's adapter, makes pairs, continues training from that adapter, is scored on held-out questions, and must
# pass GATE against the best round. After an interruption, rerun make: it resumes.
#   make -f examples/make/rounds.mk ROUNDS=3                                                        SeVa's noisy views, on the bundled model
#   make -f examples/make/rounds.mk JUDGE=local:DIR GUIDE=yes-no PAIR='--rule score --metrics yes --margin 0.2'    four responses per question, graded by a judge
#   ON_WORSE=stop: a round that fails the gate ends make.   ON_WORSE=back: the next round starts from the best round, with another seed.
#   LR_2=1e-5: the learning rate of round 2 only.   LAUNCH='srun --mpi=pmix': launcher of training.
# DIR holds round-N.{from,sampled,pairs,scores,gate,...}; round-N.best is the number of the best round after round N. Round 0 is the initial model.
MODEL    ?= fixtures/demo/tiny-llava
DATA     ?= fixtures/demo/data/preference/llava_conversations.json
IMAGES   ?= fixtures/demo/data/preference/images
IMPORT   ?= --turns 4
# Questions for scoring, about other images than DATA's.
POPE     ?= $(foreach split,random popular adversarial,fixtures/demo/data/test/pope_$(split).json)
POPE_IMAGES ?= fixtures/demo/data/test/images
CAPTIONS ?= fixtures/demo/data/test/captions.jsonl
DIR      ?= runs/rounds
ROUNDS   ?= 3
ON_WORSE ?= stop
GATE     ?= --require 'pope.score >= -1 from best' --require 'hallucination.score <= 1 from best' --require 'hallucination.f1 >= -0.01 from best'
STEP     ?= 500
GUIDE    ?= helpsteer
SAMPLE   ?= --max-new-tokens 64
PAIR     ?= $(if $(JUDGE),--rule score,--rule seva)
LORA     ?= --lora-r 64 --lora-alpha 128
TRAIN    ?= --batch-size 16 --warmup-ratio 0.05
LR       ?= 5e-5
VPREF    ?= vpref

ifeq ($(filter stop back,$(ON_WORSE)),)
$(error ON_WORSE: expected stop or back, got "$(ON_WORSE)")
endif
numbers := $(shell seq 1 $(ROUNDS))
examples := $(dir $(lastword $(MAKEFILE_LIST)))..

all: $(DIR)/report.html

$(DIR):
	mkdir -p $@

# 3: finished, but rows were skipped.
$(DIR)/prompts.ndjson: $(DATA) | $(DIR)
	$(VPREF) import llava $< --image-root $(IMAGES) $(IMPORT) -o $@ --resume || [ $$? -eq 3 ]

$(DIR)/test.pope.ndjson: $(POPE) | $(DIR)
	$(VPREF) import pope $^ --image-root $(POPE_IMAGES) -o $@ --resume

$(DIR)/test.captions.ndjson: $(CAPTIONS) | $(DIR)
	node $(examples)/caption-prompts.mjs $< $(POPE_IMAGES) "Describe the image." > $@.part && mv $@.part $@

# The scores of round $1, with responses sampled with the flags $2.
define scores
$(DIR)/round-$1.pope.ndjson: $(DIR)/test.pope.ndjson $3
	$(VPREF) sample --model $(MODEL) $2 --max-new-tokens 8 $$< -o $$@ --resume

$(DIR)/round-$1.captions.ndjson: $(DIR)/test.captions.ndjson $3
	$(VPREF) sample --model $(MODEL) $2 --max-new-tokens 96 $$< -o $$@ --resume

$(DIR)/round-$1.scores.ndjson: $(DIR)/round-$1.pope.ndjson $(DIR)/round-$1.captions.ndjson
	$(VPREF) eval pope $(DIR)/round-$1.pope.ndjson --labels $(POPE) > $$@.part
	$(VPREF) eval hallucination $(DIR)/round-$1.captions.ndjson --labels $(CAPTIONS) >> $$@.part && mv $$@.part $$@
endef
$(eval $(call scores,0,,))
$(DIR)/round-0.best: | $(DIR)
	echo 0 > $@

# Round $1 after round $2. A file holds the round to start from, which is known only after the previous one: the flag of its adapter,
# or nothing for round 0.
from = $$$$(best=$$$$(cat $(DIR)/round-$1.from); [ $$$$best = 0 ] || echo --adapter $(DIR)/round-$$$$best.adapter)
define round
$(DIR)/round-$1.from: $(DIR)/round-$2.best
	cp $$< $$@.part && mv $$@.part $$@

$(DIR)/round-$1.views.ndjson: $(DIR)/prompts.ndjson $(DIR)/round-$1.from
	$(VPREF) augment --op diffusion:step=$(STEP) --seed $1 $$< -o $$@ --resume

ifdef JUDGE
$(DIR)/round-$1.sampled.ndjson: $(DIR)/prompts.ndjson $(DIR)/round-$1.from
	$(VPREF) sample --model $(MODEL) $(from) -n 4 --temperature 0.9 --seed $1 $(SAMPLE) $$< -o $$@ --resume

$(DIR)/round-$1.answers.ndjson: $(DIR)/round-$1.sampled.ndjson
	$(VPREF) annotate --judge '$(JUDGE)' --guide $(GUIDE) $$< -o $$@ --resume || [ $$$$? -eq 3 ]
else
$(DIR)/round-$1.answers.ndjson: $(DIR)/round-$1.views.ndjson
	$(VPREF) sample --model $(MODEL) $(from) --views all $(SAMPLE) $$< -o $$@ --resume
endif

$(DIR)/round-$1.pairs.ndjson: $(DIR)/round-$1.answers.ndjson
	$(VPREF) pair $(PAIR) --seed $1 $$< -o $$@ --resume || [ $$$$? -eq 3 ]

$(DIR)/round-$1.ref.ndjson: $(DIR)/round-$1.pairs.ndjson
	$(VPREF) precompute-ref --model $(MODEL) $(from) $$< -o $$@ --resume

# Round 1 starts a new adapter, later ones start from the best. The adapter appears when the run is complete.
$(DIR)/round-$1.adapter/adapter_model.safetensors: $(DIR)/round-$1.ref.ndjson
	start="$(subst --adapter,--init-adapter,$(from))"; $(LAUNCH) $(VPREF) train $$< --model $(MODEL) $$$${start:-$(LORA)} $(TRAIN) --lr $(or $(LR_$1),$(LR)) --seed $1 --save-every 20 --summary $(DIR)/round-$1.summary.ndjson -o $(DIR)/round-$1.adapter --resume >> $(DIR)/round-$1.metrics.ndjson

$(call scores,$1,--adapter $(DIR)/round-$1.adapter,$(DIR)/round-$1.adapter/adapter_model.safetensors)

# 4: a requirement failed.
$(DIR)/round-$1.best: $(DIR)/round-$1.scores.ndjson $(DIR)/round-0.scores.ndjson
	best=$$$$(cat $(DIR)/round-$1.from); status=0; \
	$(VPREF) eval gate $$< --baseline best=$(DIR)/round-$$$$best.scores.ndjson $(GATE) > $(DIR)/round-$1.gate.ndjson || status=$$$$?; \
	case $$$$status in \
	0) best=$1 ;; \
	4) echo "round $1 is worse than round $$$$best" >&2; [ $(ON_WORSE) = back ] || exit 4 ;; \
	*) exit $$$$status ;; \
	esac; echo $$$$best > $$@.part && mv $$@.part $$@
endef

previous = $(shell expr $1 - 1)
$(foreach n,$(numbers),$(eval $(call round,$n,$(call previous,$n))))

$(DIR)/report.html: $(DIR)/round-$(ROUNDS).best
	$(VPREF) report --title "Rounds; the best is $$(cat $<)" $(foreach kind,metrics summary gate,$(foreach n,$(numbers),$(DIR)/round-$n.$(kind).ndjson)) $(foreach n,0 $(numbers),$(DIR)/round-$n.scores.ndjson) -o $@.part && mv $@.part $@

.PHONY: all

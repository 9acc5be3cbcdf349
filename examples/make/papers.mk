# SPDX-License-Identifier: Apache-2.0
# The experiments of both papers as a matrix: each cell is an adapter, trained and scored. One row file, one table, one page of charts.
#   make -f examples/make/papers.mk demo        every kind of experiment on the bundled model (papers-demo.mk)
#   make -f examples/make/papers.mk MODEL=llava DATA=llava_v1_5_mix665k.json IMAGES=data LRV=lrv.json LRV_IMAGES=vg SCIGRAPHQA=sg.json FIGURES=figures \
#     QUESTIONS_pope='coco_pope_random.json ...' IMAGES_pope=val2014 QUESTIONS_mmvet=mm-vet.json IMAGES_mmvet=mm-vet/images
#   EXPERIMENTS='step lora-r': only these.   SEEDS='0 1 2': every cell with three seeds.   make -j 4: four cells at once.   On a cluster: examples/slurm/papers.sh.
# A cell is named by its differences from the base: base; lora-r-64; flip-0.25,method-dpo. After an interruption, rerun make: it resumes.
# DIR holds prompts/ answers/ graded/ pairs/, which cells share, cells/CELL.{adapter,metrics.ndjson,summary.ndjson,BENCHMARK.ndjson,scores.ndjson}, rows.ndjson, table.txt and report.html.
self     := $(lastword $(MAKEFILE_LIST))
examples := $(dir $(self))..
all:

ifdef DEMO
include $(dir $(self))papers-demo.mk
endif
DIR      ?= runs/papers
# SeVa. Sizes count questions before equal answers are dropped, as its tables do; 13B: PRESET=seva-13b, whose noise is 500.
PRESET   ?= seva-7b
SOURCE   ?= textvqa+ocr_vqa
SOURCES  ?= textvqa ocr_vqa gqa coco vg
SIZE     ?= 16000
SIZES    ?= 8000
SOURCE_SIZES ?= 2000 4000 8000 16000
STEP     ?= $(if $(filter seva-13b,$(PRESET)),500,800)
STEPS    ?= 200 300 400 500 600 700 900
AUGMENTATIONS ?= flip rrcrop autoaugment moco
LORA_R   ?= 1024
LORA_RS  ?= 64 128 256 512 2048
BETA     ?= 0.1
BETAS    ?= 0.3 0.5
LOSS     ?= sigmoid
LOSSES   ?= ipo hinge sigmoid-norm
# K negatives are the responses to the first K of these views.
NEGATIVE_OPS ?= diffusion:step=$(STEP) moco autoaugment rrcrop
NEGATIVES ?= 2 3
# Li et al.: LRV and SciGraphQA, default DATA. Shares of the prompts in percent; flips: swapped pairs.
LRV_SIZE ?= 2562
SCIGRAPHQA_SIZE ?= 2522
SHARES   ?= 25 50 75
FLIPS    ?= 0.25 0.5 0.75
JUDGE    ?= gemini
JUDGES   ?=
JUDGE_gemini ?= gemini:gemini-2.5-pro
JUDGE_openai ?= openai:gpt-4o
JUDGE_self ?= local:$(MODEL)
GUIDE_self ?= helpsteer-local
ANNOTATE ?= --rpm 150 --max-cost 50
SFT_FROM ?= judge
STEER    ?= helpfulness=4,correctness=4,coherence=4,complexity=4,verbosity=4
METHODS  ?= dpo steerlm rs sft continued
# Continued SFT (SeVa table 3): dialogues of all of DATA, and of SOURCE only (0: none).
CONTINUED ?= 15000 66000 132000
CONTINUED_SOURCE_SIZE ?= 102000
SEEDS    ?= 0
BASE_SEEDS ?= $(SEEDS)
EXPERIMENTS ?= augmentation step source size lora-r beta loss negatives seed method judge flip share
# Flags of the stages by method.
SAMPLE_seva ?= --preset $(PRESET)
SAMPLE_judged ?= --preset li2024-dpo
PAIR_seva ?= --preset $(PRESET)
PAIR_dpo ?= --preset li2024-dpo
PAIR_steerlm ?= --preset li2024-steerlm
PAIR_rs  ?= --preset li2024-rs
PAIR_sft ?= --preset li2024-sft
PAIR_continued ?= --rule sft --from reference
REF_seva ?= --preset $(PRESET)
REF_dpo  ?= --preset li2024-dpo
TRAIN_seva ?= --preset $(PRESET)
TRAIN_dpo ?= --preset li2024-dpo
TRAIN_steerlm ?= --preset li2024-steerlm
TRAIN_rs ?= --preset li2024-rs
TRAIN_sft ?= --preset li2024-sft
TRAIN_continued ?= --preset llava-sft-lora
# Benchmarks: those with QUESTIONS_NAME; also IMAGES_NAME, LABELS_NAME, SAMPLE_NAME (flags), and GRADER, the judge of their guides.
BENCHMARKS := pope hallucination mmvet mmbench llava-bench seed-bench scienceqa gqa mt-bench
BENCH    ?= $(foreach name,$(BENCHMARKS),$(if $(QUESTIONS_$(name)),$(name)))
LABELS_pope ?= $(QUESTIONS_pope)
LABELS_hallucination ?= $(QUESTIONS_hallucination)
GUIDE_mmvet := mm-vet
GUIDE_llava-bench := llava-bench
GUIDE_mt-bench := mt-bench
GRADER   ?= openai:gpt-4
VPREF    ?= vpref

# Names. A parameter's value in a cell comes from its name, else from the base.
c        := ,
parameters := augmentation step source size lora-r beta loss negatives method judge flip share
base-augmentation := diffusion
base-step := $(STEP)
base-source := $(SOURCE)
base-size := $(SIZE)
base-lora-r := $(LORA_R)
base-beta := $(BETA)
base-loss := $(LOSS)
base-negatives := 1
base-method := seva
base-judge := $(JUDGE)
base-flip := 0
base-share := 100
base-seed := $(firstword $(SEEDS))
defaults := base $(foreach parameter,$(parameters) seed,$(parameter)-$(base-$(parameter)))
parts    = $(subst $c, ,$1)
name     = $(or $(subst $() ,$c,$(sort $(filter-out $(defaults),$(call parts,$1)))),base)
given    = $(patsubst $1-%,%,$(filter $1-%,$(call parts,$2)))
setting  = $(or $(call given,$1,$2),$(base-$1))
only     = $(call name,$(filter $(1:%=%-%),$(call parts,$2)))
is       = $(filter $1,$(call setting,method,$2))

# Experiments: their cells, and the parameters of the rows that report --by and the table read.
repeated = $(foreach cell,$1,$(foreach seed,$(if $(filter base,$(cell)),$(BASE_SEEDS),$(SEEDS)),$(call name,$(cell) seed-$(seed))))
continued := $(CONTINUED:%=method-continued$csource-all$csize-%) $(patsubst %,method-continued$csize-%,$(filter-out 0,$(CONTINUED_SOURCE_SIZE)))
cells-augmentation := $(call repeated,base $(AUGMENTATIONS:%=augmentation-%))
cells-step := $(call repeated,base $(STEPS:%=step-%))
cells-source := $(call repeated,$(foreach source,$(SOURCES),$(SOURCE_SIZES:%=source-$(source)$csize-%)))
cells-size := $(call repeated,base $(SIZES:%=size-%))
cells-lora-r := $(call repeated,base $(LORA_RS:%=lora-r-%))
cells-beta := $(call repeated,base $(BETAS:%=beta-%))
cells-loss := $(call repeated,base $(LOSSES:%=loss-%))
cells-negatives := $(call repeated,base $(NEGATIVES:%=negatives-%))
cells-seed := $(call repeated,base)
cells-method := $(call repeated,base $(patsubst %,method-%,$(filter-out continued,$(METHODS))) $(if $(filter continued,$(METHODS)),$(continued)))
cells-judge := $(call repeated,method-dpo $(JUDGES:%=method-dpo$cjudge-%))
cells-flip := $(call repeated,method-dpo $(FLIPS:%=method-dpo$cflip-%))
cells-share := $(call repeated,method-dpo $(SHARES:%=method-dpo$cshare-%))
params-source := source size
params-method = method$(if $(call is,continued,$1), source size)
params   = $(foreach parameter,$(or $(call params-$1,$2),$1),$(parameter)=$(call setting,$(parameter),$2)) seed=$(call setting,seed,$2)
cells    := $(sort $(foreach experiment,$(EXPERIMENTS),$(cells-$(experiment))))

# The inputs of a cell; cells with equal inputs share them.
all-sources = $(subst +, ,$(call setting,source,$1))
is-judged = $(call is,dpo steerlm rs,$1)$(and $(call is,sft,$1),$(filter judge,$(SFT_FROM)))
prompt-key = $(if $(call is,continued,$1),dialogues$c$(call only,source size,$1),$(if $(and $(LRV),$(call is,dpo steerlm rs sft,$1)),lrv$c$(call only,share,$1),questions$c$(call only,source size share,$1)))
answer-key = $(if $(call is,seva,$1),seva$c$(call only,augmentation step negatives source size seed,$1),$(if $(call is-judged,$1),judged$c$(call only,source size share seed,$1)))
grade-key = $(if $(call is-judged,$1),$(call only,judge source size share seed,$1))
pair-key = $(call only,augmentation step negatives source size method judge flip share seed,$1)
is-paired = $(call is,seva dpo,$1)
pairs-of = $(DIR)/pairs/$(call pair-key,$1)$(if $(is-paired),.ref).ndjson
prompts-of = $(DIR)/prompts/$(prompt-key).ndjson
answers-of = $(patsubst %,$(DIR)/answers/%.ndjson,$(answer-key))
graded-of = $(patsubst %,$(DIR)/graded/%.ndjson,$(grade-key))

ifneq ($(filter-out demo,$(or $(MAKECMDGOALS),all)),)
$(foreach name,MODEL DATA IMAGES BENCH,$(if $(strip $($(name))),,$(error $(name): expected a value$(if $(filter BENCH,$(name)), (QUESTIONS_pope=... gives one))$(c) got none)))
endif

# The base of all cells of a folder. Cells are named by differences from it, so another base needs another folder.
methods  := seva dpo steerlm rs sft continued
common   := MODEL DATA IMAGES LRV LRV_IMAGES LRV_SIZE SCIGRAPHQA FIGURES SCIGRAPHQA_SIZE SOURCE SIZE STEP LORA_R BETA LOSS NEGATIVE_OPS JUDGE SFT_FROM STEER LORA SAMPLE_judged \
  $(foreach stage,SAMPLE PAIR REF TRAIN,$(methods:%=$(stage)_%)) $(foreach judge,$(JUDGE) $(JUDGES),JUDGE_$(judge) GUIDE_$(judge) PAIR_$(judge))
settings := $(foreach name,$(common),$(if $($(name)),$(name)=$($(name)))) seed=$(base-seed)
known    := $(if $(wildcard $(DIR)/settings),$(shell cat $(DIR)/settings))
ifneq ($(known),)
ifneq ($(strip $(known)),$(strip $(settings)))
$(error $(DIR) holds a matrix of other settings: expected $(or $(filter-out $(settings),$(known)),no more of them)$(c) got $(or $(filter-out $(known),$(settings)),fewer); DIR=... names another folder)
endif
endif

all: $(DIR)/table.txt $(DIR)/report.html

demo:
	@$(MAKE) -f $(self) DEMO=1 all

$(DIR)/settings:
	mkdir -p $(DIR) && printf '%s\n' '$(subst ','\'',$(settings))' > $@

$(foreach folder,prompts answers graded pairs cells test,$(DIR)/$(folder)): | $(DIR)/settings
	mkdir -p $@

# Prompts. A larger size, or share, includes a smaller one. 3: finished, but rows with a missing image were skipped.
import   = $(VPREF) import $1 --check-images --on-error skip -o $$@ --resume || [ $$$$? -eq 3 ]
percent  = $(shell expr $1 \* $(call setting,share,$2) / 100)
per-source = $(call percent,$(shell expr $(call setting,size,$1) / $(words $(all-sources))),$1)
define questions-rule
$(prompts-of): $(DATA) | $(DIR)/prompts
	$(call import,llava $(DATA) --image-root $(IMAGES) --turns 2 --source $(subst +,$c,$(call setting,source,$1)) $(foreach source,$(all-sources),--limit $(source)=$(per-source)))
endef
define dialogues-rule
$(prompts-of): $(DATA) | $(DIR)/prompts
	$(call import,llava $(DATA) --image-root $(IMAGES) $(if $(filter all,$(all-sources)),,--source $(subst +,$c,$(call setting,source,$1))) --limit $(call setting,size,$1))
endef
define lrv-rule
$(prompts-of:.ndjson=.lrv.ndjson): $(LRV) | $(DIR)/prompts
	$(call import,lrv $(LRV) --image-root $(LRV_IMAGES) --limit $(call percent,$(LRV_SIZE),$1))
$(prompts-of:.ndjson=.scigraphqa.ndjson): $(SCIGRAPHQA) | $(DIR)/prompts
	$(call import,scigraphqa $(SCIGRAPHQA) --image-root $(FIGURES) --limit $(call percent,$(SCIGRAPHQA_SIZE),$1))
$(prompts-of): $(prompts-of:.ndjson=.lrv.ndjson) $(prompts-of:.ndjson=.scigraphqa.ndjson)
	cat $$^ > $$@.part && mv $$@.part $$@
endef

# Responses: to the image and its views, or four samples.
first    = $(wordlist 1,$(call setting,negatives,$1),$(NEGATIVE_OPS))
views    = $(if $(call given,negatives,$1),$(first),$(patsubst diffusion,diffusion:step=$(call setting,step,$1),$(call setting,augmentation,$1)))
define seva-rule
$(answers-of:.ndjson=.views.ndjson): $(prompts-of) | $(DIR)/answers
	$(VPREF) augment $(views:%=--op %) --seed $(call setting,seed,$1) $$< -o $$@ --resume
$(answers-of): $(answers-of:.ndjson=.views.ndjson)
	$(VPREF) sample --model $(MODEL) $(SAMPLE_seva) --seed $(call setting,seed,$1) $$< -o $$@ --resume
endef
define judged-rule
$(answers-of): $(prompts-of) | $(DIR)/answers
	$(VPREF) sample --model $(MODEL) $(SAMPLE_judged) --seed $(call setting,seed,$1) $$< -o $$@ --resume
endef
# 3: finished, but calls failed.
define graded-rule
$(graded-of): $(answers-of) | $(DIR)/graded
	$(VPREF) annotate --judge '$(or $(JUDGE_$(call setting,judge,$1)),$(error JUDGE_$(call setting,judge,$1): expected a judge, got none))' --guide $(or $(GUIDE_$(call setting,judge,$1)),helpsteer) $(ANNOTATE) $$< -o $$@ --resume || [ $$$$? -eq 3 ]
endef

# Pairs, or single responses. A judge may have its own rule.
pair-flags = $(or $(if $(call is,dpo,$1),$(PAIR_$(call setting,judge,$1))),$(PAIR_$(call setting,method,$1))) $(patsubst %,--flip %,$(call given,flip,$1)) $(patsubst %,--negatives %,$(call given,negatives,$1))
define pairs-rule
$(DIR)/pairs/$(pair-key).ndjson: $(or $(graded-of),$(answers-of),$(prompts-of)) | $(DIR)/pairs
	$(VPREF) pair $(pair-flags) --seed $(call setting,seed,$1) --summary $$(@:.ndjson=.summary.ndjson) $$< -o $$@ --resume || [ $$$$? -eq 3 ]
$(DIR)/pairs/$(pair-key).ref.ndjson: $(DIR)/pairs/$(pair-key).ndjson
	$(VPREF) precompute-ref --model $(MODEL) $(REF_$(call setting,method,$1)) $$< -o $$@ --resume
endef

# A cell: its adapter, which appears when the run is complete, and its scores.
loss     = $(or $(call given,loss,$1),$(if $(call given,negatives,$1),softmax))
lora     = $(or $(foreach r,$(call given,lora-r,$1),--lora-r $r --lora-alpha $(shell expr 2 \* $r)),$(LORA))
train-flags = $(TRAIN_$(call setting,method,$1)) $(lora) $(patsubst %,--beta %,$(call given,beta,$1)) $(patsubst %,--loss %,$(or $(LOSS_$(loss)),$(loss))) --seed $(call setting,seed,$1)
define cell-rule
$(DIR)/cells/$1.adapter/adapter_model.safetensors: $(pairs-of) | $(DIR)/cells
	$(LAUNCH) $(VPREF) train $$< --model $(MODEL) $(train-flags) --save-every 20 --summary $(DIR)/cells/$1.summary.ndjson -o $(DIR)/cells/$1.adapter --resume >> $(DIR)/cells/$1.metrics.ndjson
$(call scores-rule,$1,--adapter $(DIR)/cells/$1.adapter $(if $(call is,steerlm,$1),--steer $(STEER)),$(DIR)/cells/$1.adapter/adapter_model.safetensors)
endef
# Responses with the flags $2, judged if the benchmark has a guide, and scored.
define scores-rule
$(foreach bench,$(BENCH),$(call answers-rule,$1,$2,$3,$(bench))
)
$(DIR)/cells/$1.scores.ndjson: $(foreach bench,$(BENCH),$(call scored,$1,$(bench)))
	{ $(foreach bench,$(BENCH),{ $(VPREF) eval $(bench) $(call scored,$1,$(bench)) $(LABELS_$(bench):%=--labels %) || [ $$$$? -eq 3 ]; } &&) true; } > $$@.part && mv $$@.part $$@
endef
scored   = $(DIR)/cells/$1.$2$(if $(GUIDE_$2),.graded).ndjson
define answers-rule
$(DIR)/cells/$1.$4.ndjson: $(DIR)/test/$4.ndjson $3 | $(DIR)/cells
	$(VPREF) sample --model $(MODEL) $2 $(SAMPLE_$4) $$< -o $$@ --resume
$(if $(GUIDE_$4),$(DIR)/cells/$1.$4.graded.ndjson: $(DIR)/cells/$1.$4.ndjson
	$(VPREF) annotate --judge '$(GRADER)' --guide $(GUIDE_$4) $$< -o $$@ --resume || [ $$$$? -eq 3 ])
endef

define test-rule
$(DIR)/test/$1.ndjson: $(QUESTIONS_$1) | $(DIR)/test
	$(if $(filter hallucination,$1),node $(examples)/caption-prompts.mjs $(QUESTIONS_$1) $(IMAGES_$1) "Describe the image." > $$@.part && mv $$@.part $$@,$(VPREF) import $1 $(QUESTIONS_$1) $(IMAGES_$1:%=--image-root %) -o $$@ --resume)
endef

# One rule per file, even if several cells need it.
seen     :=
once     = $(if $(filter $2,$(seen)),,$(eval seen += $2)$(eval $(call $1,$3)))
$(foreach bench,$(BENCH),$(eval $(call test-rule,$(bench))))
$(eval $(call scores-rule,before,,))
$(foreach cell,$(cells), \
  $(call once,$(firstword $(subst $c, ,$(call prompt-key,$(cell))))-rule,$(call prompts-of,$(cell)),$(cell)) \
  $(if $(call answer-key,$(cell)),$(call once,$(firstword $(subst $c, ,$(call answer-key,$(cell))))-rule,$(call answers-of,$(cell)),$(cell))) \
  $(if $(call grade-key,$(cell)),$(call once,graded-rule,$(call graded-of,$(cell)),$(cell))) \
  $(call once,pairs-rule,$(DIR)/pairs/$(call pair-key,$(cell)).ndjson,$(cell)) \
  $(eval $(call cell-rule,$(cell))))

# A row per cell and experiment: a cell of several experiments has a row in each, with that experiment's parameter.
$(DIR)/rows.ndjson: $(cells:%=$(DIR)/cells/%.scores.ndjson)
	node $(examples)/matrix-rows.mjs $(DIR)/cells $(foreach experiment,$(EXPERIMENTS),$(foreach cell,$(cells-$(experiment)),$(cell) $(call params,$(experiment),$(cell)))) > $@.part && mv $@.part $@

$(DIR)/table.txt: $(DIR)/rows.ndjson $(DIR)/cells/before.scores.ndjson
	$(VPREF) eval published $^ --format table -o $@.part && mv $@.part $@

$(DIR)/report.html: $(DIR)/rows.ndjson $(DIR)/cells/before.scores.ndjson
	$(VPREF) report --title "The papers' experiments" $^ $(cells:%=$(DIR)/cells/%.metrics.ndjson) $(patsubst %,--by %,$(filter-out seed source,$(EXPERIMENTS))) -o $@.part && mv $@.part $@

# For a cluster: the files of each stage, one per line; those of a stage do not depend on each other.
list-prompts:
	@printf '%s\n' $(sort $(foreach cell,$(cells),$(call prompts-of,$(cell)))) $(BENCH:%=$(DIR)/test/%.ndjson)
list-answers:
	@printf '%s\n' $(sort $(foreach cell,$(cells),$(call answers-of,$(cell))))
list-graded:
	@printf '%s\n' $(sort $(foreach cell,$(cells),$(call graded-of,$(cell))))
list-pairs:
	@printf '%s\n' $(sort $(foreach cell,$(cells),$(call pairs-of,$(cell))))
list-cells:
	@printf '%s\n' $(patsubst %,$(DIR)/cells/%.scores.ndjson,before $(cells))

.PHONY: all demo list-prompts list-answers list-graded list-pairs list-cells

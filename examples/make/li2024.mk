# SPDX-License-Identifier: Apache-2.0
# DPO from a judge's scores (Li et al. 2024) with records as targets, on 2,562 rows of LRV and 2,522 of SciGraphQA; an interrupted run resumes.
#   GEMINI_API_KEY=... make -f examples/make/li2024.mk MODEL=llava LRV=lrv.json LRV_IMAGES=vg SCIGRAPHQA=scigraphqa.json FIGURES=figures
DIR    ?= runs/li2024
JUDGE  ?= gemini:gemini-2.5-pro
RPM    ?= 150
COST   ?= 50
PRESET := --preset li2024-dpo
VPREF  ?= vpref
IMPORT := --check-images --on-error skip

all: $(DIR)/report.html

$(DIR):
	mkdir -p $@

# 3: finished, but rows were skipped, or calls failed.
$(DIR)/lrv.ndjson: $(LRV) | $(DIR)
	$(VPREF) import lrv $(LRV) --limit 2562 --image-root $(LRV_IMAGES) $(IMPORT) -o $@ --resume || [ $$? -eq 3 ]

$(DIR)/scigraphqa.ndjson: $(SCIGRAPHQA) | $(DIR)
	$(VPREF) import scigraphqa $(SCIGRAPHQA) --limit 2522 --image-root $(FIGURES) $(IMPORT) -o $@ --resume || [ $$? -eq 3 ]

$(DIR)/sampled.ndjson: $(DIR)/lrv.ndjson $(DIR)/scigraphqa.ndjson
	$(VPREF) sample --model $(MODEL) $(PRESET) $^ -o $@ --resume

$(DIR)/graded.ndjson: $(DIR)/sampled.ndjson
	$(VPREF) annotate --judge $(JUDGE) --guide helpsteer --rpm $(RPM) --max-cost $(COST) $< -o $@ --resume || [ $$? -eq 3 ]

$(DIR)/pairs.ndjson: $(DIR)/graded.ndjson
	$(VPREF) pair $(PRESET) --summary $(DIR)/pair.summary.ndjson $< -o $@ --resume

$(DIR)/pairs.ref.ndjson: $(DIR)/pairs.ndjson
	$(VPREF) precompute-ref --model $(MODEL) $(PRESET) $< -o $@ --resume

$(DIR)/adapter/adapter_model.safetensors: $(DIR)/pairs.ref.ndjson
	$(VPREF) train $< --model $(MODEL) $(PRESET) --save-every 20 --summary $(DIR)/summary.ndjson -o $(DIR)/adapter --resume >> $(DIR)/metrics.ndjson

$(DIR)/report.html: $(DIR)/adapter/adapter_model.safetensors
	$(VPREF) report $(DIR)/metrics.ndjson $(DIR)/summary.ndjson $(DIR)/pair.summary.ndjson $(DIR)/pairs.ndjson -o $@

.PHONY: all

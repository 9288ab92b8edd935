# Every target creates the virtual environment when it is missing and is safe to run again.
#   make quickstart   the whole loop on this machine: tasks, evaluation, RL, memory agent, board
#   make test         the test suite
#   make check        ruff, mypy, layers
#   make openrlhf-cpu   the distributed engine for a machine without a GPU (about 1.5 GB)
#   make test-openrlhf  its tests against the installed packages, with real runs of minutes

PYTHON ?= python3
VENV ?= .venv
# torch first and pinned: a plain "torch" pulls gigabytes of CUDA packages onto a CPU machine.
TORCH ?= torch==2.13.0
OUT ?= out/quickstart
KILLS ?= out/kills
ABLATIONS ?= out/ablations
AGENTS ?= out/agents
ARGS ?=
POLICY = $(VENV)/bin/python scripts/embedded_policy/train.py
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check

# The installation leaves compiling to the first import, so its result must be kept.
unexport PYTHONDONTWRITEBYTECODE
export HF_HUB_OFFLINE ?= 1
export OMP_NUM_THREADS ?= 1

.PHONY: openrlhf-cpu test-openrlhf
.PHONY: quickstart test check format install install-dev policy test-kill test-kill-training clean help
.PHONY: ablation ablation-regime ablation-conditions ablation-noise ablation-components memory-rl agents-by-length

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/.base: pyproject.toml constraints.txt
	@echo "== creating $(VENV) and installing longspan (1-2 minutes)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile -c constraints.txt $(TORCH)
	@echo "== torch is there; installing the other dependencies"
	$(PIP) install --quiet --no-compile -c constraints.txt -e .
	@# Build metadata in the source tree would make Inspect register everything a second time.
	@rm -rf longspan.egg-info
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "== installing the development tools"
	$(PIP) install --quiet --no-compile -c constraints.txt -e ".[dev,gguf,lm-eval,lora,ray,retrieval,synth,tensorboard]"
	@rm -rf longspan.egg-info
	@touch $@

# DeepSpeed's source package builds in an environment of its own; its kernels are built when first used.
$(VENV)/.openrlhf-cpu: $(VENV)/.dev constraints-openrlhf-cpu.txt
	@echo "== installing Ray, vLLM's CPU build, DeepSpeed and OpenRLHF (1-2 minutes)"
	DS_BUILD_OPS=0 PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(PIP) install --quiet --no-compile --no-deps --use-pep517 \
	  -r constraints-openrlhf-cpu.txt
	@touch $@

install: $(VENV)/.base
openrlhf-cpu: $(VENV)/.openrlhf-cpu
install-dev: $(VENV)/.dev

quickstart: $(VENV)/.base
	$(VENV)/bin/longspan quickstart --out $(OUT) $(ARGS)

test: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -n 2 -q

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -q tests/test_policies.py

test-openrlhf: $(VENV)/.openrlhf-cpu
	LONGSPAN_TEST_OPENRLHF=1 $(VENV)/bin/python -m pytest -q tests/trainers/openrlhf $(ARGS)

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Trains the two shipped checkpoints from scratch, side by side (about an hour on two cores).
policy: $(VENV)/.base
	( $(POLICY) --mixture base --out out/policy/nano-first && \
	  $(POLICY) --mixture base --out trainers/checkpoints/nano --init out/policy/nano-first --steps 1600 ) & \
	$(POLICY) --mixture clean --out trainers/checkpoints/nano-ceiling & \
	wait

# Kills a small quickstart twice at random moments and compares its board with an undisturbed one.
test-kill: $(VENV)/.base
	$(VENV)/bin/python scripts/kill_quickstart.py --out $(KILLS) $(ARGS)

# Each arm of a plan over its seeds, two at a time; continues where it stopped. ABLATIONS/<plan>/report.md
ABLATE = $(VENV)/bin/python scripts/ablation.py scripts/ablations
ablation: $(VENV)/.base
	$(ABLATE)/algorithms.yaml --out $(ABLATIONS)/algorithms $(ARGS)
ablation-regime: $(VENV)/.base
	$(ABLATE)/regime.yaml --out $(ABLATIONS)/regime $(ARGS)
ablation-conditions: $(VENV)/.base
	$(ABLATE)/conditions.yaml --out $(ABLATIONS)/conditions --seeds 3 $(ARGS)
ablation-noise: $(VENV)/.base
	$(ABLATE)/conditions.yaml --out $(ABLATIONS)/noise --only noise $(ARGS)
ablation-components: $(VENV)/.base
	$(ABLATE)/components.yaml --out $(ABLATIONS)/components $(ARGS)
# RL over the memory agent's turns, and what it does at lengths that were not trained on.
memory-rl: $(VENV)/.base
	$(ABLATE)/memory_rl.yaml --out $(ABLATIONS)/memory_rl $(ARGS)

# Every agent at 1x, 4x, 16x and 64x the embedded policy's window, with what it costs. AGENTS/agents.md
agents-by-length: $(VENV)/.dev
	$(VENV)/bin/python scripts/agents_by_length.py --out $(AGENTS) $(ARGS)

# Kills a small training run ten times at random points and compares its final weights.
test-kill-training: $(VENV)/.base
	rm -rf $(KILLS)-training
	$(VENV)/bin/python scripts/kill_training.py --out $(KILLS)-training $(ARGS)

clean:
	rm -rf $(OUT)

# The five commands. No logic lives here.
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
OUT ?= out
DATABASES ?= 10
SEED ?= 0

.PHONY: demo test ui run synthesise install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(VENV)/bin/python -m orchestration.run --source shop --config orchestration/demo.yaml --output '$(OUT)'

run: install
	$(VENV)/bin/python -m orchestration.run --source '$(SOURCE)' --task '$(TASK)' --as-of '$(AS_OF)' --config '$(CONFIG)' --output '$(OUT)'

synthesise: install
	$(VENV)/bin/python -m orchestration.synthesise --databases '$(DATABASES)' --seed '$(SEED)' --out '$(OUT)' $(ARGS)

ui: install
	$(VENV)/bin/python -m orchestration.ui

# Two workers, a core each.
test: install
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

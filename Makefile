# The four commands. No logic lives here.
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
OUT ?= out

.PHONY: demo test ui run install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(VENV)/bin/python -m orchestration.run --source shop --output '$(OUT)'

run: install
	$(VENV)/bin/python -m orchestration.run --source '$(SOURCE)' --task '$(TASK)' --as-of '$(AS_OF)' --config '$(CONFIG)' --output '$(OUT)'

ui: install
	$(VENV)/bin/python -m orchestration.ui

test: install
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile $(ARGS)

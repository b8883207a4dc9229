# The three commands of CONTRIBUTING.md. They use the active Python environment.

# At most four workers: those that load models take a gigabyte each. Each begins with a stretch of its own, so that a
# module's server and models are started once, not by every worker; who is done takes from the others.
PYTEST ?= pytest -n auto --maxprocesses 4 --dist worksteal
# npm is optional here; .ci/run installs it. What is installed already is used, so that this works offline.
npm = @if command -v npm >/dev/null; then { [ -d node_modules ] || npm ci --silent; } && npm $(1); else echo "no npm: the JavaScript was left out"; fi

# The tests start dozens of processes: each would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check test fast format client lock

check:  ## Style, types, import layers; the JavaScript's too where npm is installed
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	$(call npm,run --silent lint)

test:  ## Every test; LONG=1 shows what takes minutes with all its cases
	$(PYTEST)
	$(call npm,test --silent)

fast:  ## Tests not marked slow: under a minute on two cores
	$(PYTEST) -m "not slow" --durations=5

format:
	ruff check --fix .
	ruff format .

client:  ## What assistant.client knows of the API's answers, after they have changed
	assistant openapi | python -m assistant.lab.shapes > shapes.py && mv shapes.py assistant/client/shapes.py
	ruff format assistant/client/shapes.py

# For every platform and Python at once, with the sums of all files. What PyTorch is and brings stands apart: its build
# for CPUs is another one, which its own index has.
lock:  ## What releases are installed with, by `pip install uv`
	uv pip compile pyproject.toml --extra demo --extra mcp --extra oidc --extra otel --extra postgres --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --upgrade --output-file all.lock
	rm -f requirements.lock requirements-torch.lock
	awk '/^[a-z]/ { to = /^(torch|triton|nvidia-|cuda-)/ ? "requirements-torch.lock" : "requirements.lock" } { print > to }' all.lock
	rm all.lock

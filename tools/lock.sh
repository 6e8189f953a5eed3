#!/bin/sh
# Write the lock files anew from pyproject.toml and tests/clients/package.json; the newest versions their ranges allow.
# The only part of the project that needs uv. Usage: tools/lock.sh PYTHON
set -eu
cd "$(dirname "$0")/.."
python=$1

"$python" -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'

# One lock serves every supported interpreter: --universal writes markers instead of choosing.
# Annotations and addresses of package indexes stay out, so that a diff shows versions only.
compile() {
    output=$1
    shift
    "$python" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --upgrade --no-annotate --no-emit-index-url --no-emit-find-links \
        --custom-compile-command 'make lock' --output-file "$output" "$@"
}

compile requirements-build.lock --group pyproject.toml:build
compile requirements.lock pyproject.toml
# With the run-time lock as a constraint, so that what is tested is what is shipped.
compile requirements-dev.lock --extra dev --constraint requirements.lock pyproject.toml
# Not constrained: it is installed beside the rest, never with it.
compile tests/clients/requirements.lock --group pyproject.toml:clients

command -v npm >/dev/null 2>&1 || {
    echo 'lock: there is no npm, so tests/clients/package-lock.json stays as it is.' >&2
    exit 1
}
cd tests/clients && npm update --package-lock-only --ignore-scripts --loglevel error

#!/bin/sh
# Make .venv hold exactly the locked packages, the C engine included; do nothing when it does.
# Usage: tools/setup.sh PYTHON runtime|dev
# Whatever is missing on the machine is said in one line, with the remedy.
set -eu

cd "$(dirname "$0")/.."
python=$1
kind=$2
venv=.venv

say() { printf 'setup: %s\n' "$1" >&2; }
stop() { say "$1"; exit 1; }

case $kind in
    runtime) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) stop "the second argument is runtime or dev, not '$kind'." ;;
esac

command -v "$python" >/dev/null 2>&1 ||
    stop "there is no '$python'. Install Python 3.11 to 3.14, or name one: make PYTHON=/path/to/python3"

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    stop "'$python' does not run. Name a Python 3.11 to 3.14: make PYTHON=/path/to/python3"
case $version in
    3.11 | 3.12 | 3.13 | 3.14) ;;
    *) stop "'$python' is Python $version; 3.11 to 3.14 are supported. Name one: make PYTHON=/path/to/python3" ;;
esac

# The engine relies on the interpreter's lock; a build without it was never examined.
[ "$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("Py_GIL_DISABLED") or 0)')" = 0 ] ||
    stop "'$python' is a free-threaded build, which is not supported. Name another: make PYTHON=/path/to/python3"

# A virtual environment cannot be moved, so the place belongs to what makes it the right one.
identity=$("$python" -c 'import os, sys; print(sys.version, sys.prefix, os.getcwd())')
sum() { cksum | tr ' ' '-'; }
home=$venv/cofactor-home-$(printf '%s' "$identity" | sum)
stamp() { printf '%s' "$venv/cofactor-$1-$(cat requirements-build.lock "$2" tools/setup.sh | sum)"; }
# What development needs includes what serving needs.
if [ -e "$home" ]; then
    [ -e "$(stamp "$kind" "$lock")" ] && exit 0
    [ "$kind" = runtime ] && [ -e "$(stamp dev requirements-dev.lock)" ] && exit 0
fi

"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
    stop "'$python' lacks the venv module. On Debian or Ubuntu: apt-get install python3-venv"

# CC wins over the compiler the interpreter was built with, here and in the build itself.
compiler=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
if ! command -v "${compiler%% *}" >/dev/null 2>&1 && command -v cc >/dev/null 2>&1; then
    compiler=cc
    export CC=cc
fi
command -v "${compiler%% *}" >/dev/null 2>&1 ||
    stop "there is no C compiler ('${compiler%% *}'), and the rule engine is built from source. On Debian or Ubuntu: apt-get install gcc libc6-dev"
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
[ -e "$headers/Python.h" ] ||
    stop "the headers of Python $version are missing ($headers/Python.h). On Debian or Ubuntu: apt-get install python3-dev"
# $compiler may carry options of its own.
# shellcheck disable=SC2086
printf '#include <stdio.h>\n' | $compiler -fsyntax-only -x c - >/dev/null 2>&1 ||
    stop "the C compiler ('$compiler') finds no C library headers. On Debian or Ubuntu: apt-get install libc6-dev"

if [ ! -e "$home" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv" ||
        stop "'$python' could not make a virtual environment; the reason stands above."
    : >"$home"
fi

say "installing the locked packages; the first time this takes about a minute and needs the network."
# Python 3.13 removed a name that the C source of the engine still uses; earlier versions have both.
export CPPFLAGS="-DPyEval_CallObject=PyObject_CallObject ${CPPFLAGS:-}"
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" ||
        stop "a package could not be installed; the reason stands above. The network is needed until this has succeeded once."
}
pip install --quiet --require-hashes --requirement requirements-build.lock
pip install --quiet --require-hashes --no-build-isolation --use-pep517 --requirement "$lock"
pip install --quiet --no-deps --no-build-isolation --editable .

"$venv/bin/python" -c 'import durable_rules_engine' ||
    stop "the rule engine was built but cannot be loaded; the reason stands above."
rm -f "$venv/cofactor-$kind-"*
: >"$(stamp "$kind" "$lock")"
say "done: Python $version in $venv."

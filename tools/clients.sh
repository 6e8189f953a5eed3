#!/bin/sh
# Make .clients hold exactly the locked clients that the tests let loose on the service; do nothing when it does.
# Usage: tools/clients.sh PYTHON
# Nothing else needs them. What cannot be had is said in one line, and only its own tests are left out.
set -eu

cd "$(dirname "$0")/.."
python=$1
home=.clients
wanted=tests/clients

say() { printf 'clients: %s\n' "$1" >&2; }
sum() { cksum | tr ' ' '-'; }

# Medplum, and the validators of FHIR resources.
javascript() {
    stamp=$home/js-$(cat "$wanted/package-lock.json" "$wanted/.npmrc" tools/clients.sh | sum)
    [ -e "$stamp" ] && return
    rm -rf "$home"/js "$home"/js-*
    left_out='the tests with Medplum, and of FHIR resources by validators, will be skipped.'

    if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
        say "there is no node, or no npm: $left_out On Debian or Ubuntu: apt-get install nodejs npm"
        return
    fi
    if ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)'; then
        say "node is older than 18: $left_out"
        return
    fi

    mkdir -p "$home/js"
    cp "$wanted/package.json" "$wanted/package-lock.json" "$wanted/.npmrc" "$home/js"
    # No package needs to run anything to be installed.
    (cd "$home/js" && npm ci --ignore-scripts --no-bin-links --prefer-offline --loglevel error >&2) || {
        say "npm could not install what is locked; the reason stands above: $left_out"
        return
    }
    : >"$stamp"
}

# HealthChain, in an environment of its own: it wants other versions of what the service uses as well.
healthchain() {
    identity=$("$python" -c 'import os, sys; print(sys.version, sys.prefix, os.getcwd())')
    stamp=$home/py-$( (printf '%s' "$identity"; cat "$wanted/requirements.lock" tools/clients.sh) | sum)
    [ -e "$stamp" ] && return
    rm -rf "$home"/py "$home"/py-*
    left_out='the tests with HealthChain will be skipped.'

    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    case $version in
        3.11 | 3.12 | 3.13) ;;
        *)
            say "HealthChain is not made for Python $version: $left_out"
            return
            ;;
    esac

    "$python" -m venv "$home/py" || {
        say "'$python' could not make a virtual environment; the reason stands above: $left_out"
        return
    }
    # What has no wheel for this machine would be built for minutes, with compilers that may not be there.
    "$home/py/bin/python" -m pip --disable-pip-version-check --no-input --retries 1 install --quiet \
        --require-hashes --only-binary :all: --requirement "$wanted/requirements.lock" || {
        say "pip could not install what is locked; the reason stands above: $left_out"
        return
    }
    : >"$stamp"
}

mkdir -p "$home"
javascript
healthchain

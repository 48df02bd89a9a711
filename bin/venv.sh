# Sourced by bin/up and bin/test: finds a Python, makes .venv, installs a locked requirements file once.
# shellcheck shell=sh

# A dozen processes start from the same code: what one has compiled serves the others, and the next start.
unset PYTHONDONTWRITEBYTECODE

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# The first Python of 3.11 or later. PYTHON=... names another one.
find_python() {
    for candidate in ${PYTHON:-python3.12 python3.11 python3 python3.13 python3.14}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    fail "Continuity needs Python 3.11 or later. Found: $(python3 --version 2>&1). On Debian or Ubuntu:
    apt-get install python3 python3-venv"
}

make_venv() {
    if [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null; then
        .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null ||
            fail "pip is missing in .venv. Remove .venv and run this again."
        return
    fi
    python=$(find_python) || exit 1
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "$python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
    echo "Making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || fail "The virtual environment could not be made in $PWD/.venv."
}

# install_locked FILE: install FILE unless that very file is installed already.
install_locked() {
    stamp=.venv/.installed-$1
    if [ -f "$stamp" ] && cmp -s "$1" "$stamp" && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    make_venv
    echo "Installing $1: this takes up to a minute"
    # Python compiles what it imports anyway; compiling everything here would take longer than the rest.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-compile \
        --require-hashes -r "$1" </dev/null ||
        fail "Installing $1 failed. The lines above say why; running this again goes on from there."
    cp "$1" "$stamp"
}

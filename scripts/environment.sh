# shellcheck shell=sh
# Sourced by scripts/docmill, scripts/check and scripts/lock: makes .venv what the locks say, on first use and whenever
# they change; silent and quick when it already is. Expects $root, the repository. Sets $venv and $python.

venv=$root/.venv
python=$venv/bin/python
setup_lock=$venv/setup.lock

# config, tasks and so on are common names: ours must win over whatever the current folder holds, in child processes too.
export PYTHONSAFEPATH=1
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# Without compiled files every process of the stack would compile its packages again at each start.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME

stop() {
    echo "docmill: $1" >&2
    exit 1
}

# prepare LEVEL LOCK...: a level (runtime, dev) is ready when its stamp says that these locks were installed.
prepare() {
    level=$1
    shift
    is_ready "$level" "$@" && return
    take_setup_lock
    is_ready "$level" "$@" || set_up "$level" "$@" # another process may have done it while we waited
    release_setup_lock
}

is_ready() {
    stamp=$venv/ready-$1
    shift
    [ -e "$stamp" ] && wanted "$@" 2>/dev/null | cmp -s - "$stamp"
}

# A moved repository, another Python and a changed lock all read differently.
wanted() {
    identity
    for lock in "$@"; do cat "$root/$lock"; done
}

identity() {
    echo "$root"
    "$python" -V
}

set_up() {
    level=$1
    shift
    base=$(find_python) || has uv || stop "needs Python 3.11 or newer, found $(python3 -V 2>&1 || echo 'no python3'): install one, or uv, which brings its own"
    echo "docmill: setting up $venv, which takes up to a minute or two ..." >&2
    if [ -e "$venv/ready-runtime" ] && [ "$(head -n 2 "$venv/ready-runtime")" != "$(identity 2>&1)" ]; then
        discard_venv
    fi
    rm -f "$venv"/ready-*
    is_new_enough "$python" || make_venv
    install_locks "$@" >"$venv/setup.log" 2>&1 || {
        tail -n 3 "$venv/setup.log" >&2
        stop "could not install $* into $venv (all of it: $venv/setup.log); run the same command to try again"
    }
    # Plain Celery and the `docmill` command work from an activated .venv as well.
    echo "$root" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/docmill.pth"
    ln -sf ../../scripts/docmill "$venv/bin/docmill"
    stamp_level runtime requirements.txt
    [ "$level" = runtime ] || stamp_level "$level" "$@"
}

stamp_level() {
    stamp=$venv/ready-$1
    shift
    wanted "$@" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

install_locks() {
    for lock in "$@"; do
        shift
        set -- "$@" -r "$root/$lock"
    done
    if has uv; then
        UV_COMPILE_BYTECODE=1 uv pip install --python "$python" --require-hashes "$@"
    else
        "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip
        "$python" -m pip install --disable-pip-version-check --progress-bar off --require-hashes --no-deps "$@"
    fi
}

make_venv() {
    discard_venv
    if has uv; then
        uv venv --quiet --allow-existing --python "${base:->=3.11}" "$venv" ||
            stop "needs Python 3.11 or newer, and uv could not get one: install it"
    else
        "$base" -m venv "$venv" >&2 ||
            stop "$base cannot make a virtual environment: apt install python3-venv (Debian, Ubuntu), or install uv"
    fi
}

discard_venv() {
    rm -rf "$venv/bin" "$venv/lib" "$venv/lib64" "$venv/include" "$venv/pyvenv.cfg" "$venv"/ready-*
}

find_python() {
    for name in python3 python3.11 python3.12 python3.13 python3.14 python3.15 python; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

has() {
    command -v "$1" >/dev/null
}

# The lock is a symlink that names its holder: made in one step, and a dead holder shows.
take_setup_lock() {
    mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ] || stop "cannot write to $venv: change its owner, or run as its owner"
    told=
    until ln -s "$$" "$setup_lock" 2>/dev/null; do
        holder=$(readlink "$setup_lock") || continue # released just now
        if kill -0 "$holder" 2>/dev/null; then
            [ -n "$told" ] || echo "docmill: process $holder is setting up $venv, waiting for it ..." >&2
            told=yes
            sleep 1
        else
            clear_dead_lock "$holder"
        fi
    done
    trap 'rm -f "$setup_lock"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# One waiter at a time, and only while the lock is still the dead holder's: a second waiter must not remove the first's.
clear_dead_lock() {
    if mkdir "$setup_lock.clearing" 2>/dev/null; then
        [ "$(readlink "$setup_lock")" != "$1" ] || rm -f "$setup_lock"
        rmdir "$setup_lock.clearing"
    fi
}

release_setup_lock() {
    rm -f "$setup_lock"
    trap - EXIT INT TERM HUP
}

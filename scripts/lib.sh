# What the scripts share: where the repository is, which Debian packages each task needs and how
# to get them, and how to build. Sourced by the scripts beside it, never run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One line for each package: its name, and what shows that it is there. Looking for the thing and
# not for the package makes this fast, and right where the thing came from somewhere else.
BUILD_PACKAGES='
gcc                   command:cc
libc6-dev             header:stdio.h
cmake                 command:cmake
ninja-build           command:ninja
libuv1-dev            header:uv.h
node-llhttp           file:/usr/share/llhttp/llhttp.c
liblua5.4-dev         header:lua5.4/lua.h
libssl-dev            header:openssl/ssl.h
zlib1g-dev            header:zlib.h
libcurl4-openssl-dev  header:curl/curl.h
libsqlite3-dev        header:sqlite3.h
libjwt-dev            header:jwt.h
uthash-dev            header:uthash.h
ca-certificates       file:/etc/ssl/certs/ca-certificates.crt
'
TEST_PACKAGES='
libcmocka-dev         header:cmocka.h
clang-format          command:clang-format
cppcheck              command:cppcheck
lua-busted            file:/usr/share/lua/5.4/busted/init.lua
nodejs                command:node
npm                   command:npm
chromium              command:chromium
fonts-dejavu-core     file:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
'
# What scripts/micro needs beyond the build's.
MICRO_PACKAGES='
libcmocka-dev         header:cmocka.h
valgrind              header:valgrind/callgrind.h
'
# What our parsers are compared with.
ORACLE_PACKAGES='
libwslay-dev          header:wslay/wslay.h
libcjson-dev          header:cjson/cJSON.h
'
FUZZ_PACKAGES='
clang                 command:clang
libclang-rt-dev       file:/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a
'

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Is the thing there that a package brings? Paths may hold wildcards.
have() {
    local what=${1#*:}
    case $1 in
    command:*) command -v "$what" >/dev/null ;;
    header:*) compgen -G "/usr/include/$what" >/dev/null ||
        compgen -G "/usr/include/*-linux-gnu/$what" >/dev/null ||
        compgen -G "/usr/local/include/$what" >/dev/null ;;
    file:*) compgen -G "$what" >/dev/null ;;
    esac
}

# Sets `missing` to the names of a list's packages that are not there.
find_missing() {
    local package probe
    missing=()
    while read -r package probe; do
        [ -z "$package" ] || have "$probe" || missing+=("$package")
    done <<<"$1"
}

# Installs what is missing of a list, or names it and stops. Says nothing when all is there.
need_packages() {
    local as_root=() log
    find_missing "$1"
    [ ${#missing[@]} -gt 0 ] || return 0

    command -v apt-get >/dev/null ||
        die "missing, by Debian's names: ${missing[*]} (there is no apt-get to install them with)"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "missing: run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi

    echo "installing ${missing[*]}" >&2
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "could not install: ${missing[*]}"
    fi
    rm -f "$log"
    find_missing "$1"
    [ ${#missing[@]} = 0 ] || die "installed, and still not found: ${missing[*]}"
}

# Configures and builds one of CMakePresets.json; prints the output only when it fails.
build_preset() {
    local preset=$1 log
    if command -v ninja >/dev/null; then
        export CMAKE_GENERATOR=Ninja
    fi
    if command -v ccache >/dev/null; then
        export CMAKE_C_COMPILER_LAUNCHER=ccache
    fi
    log=$(mktemp)
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$(nproc)"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 60 "$log" >&2
        rm -f "$log"
        die "the $preset build failed"
    fi
    rm -f "$log"
}

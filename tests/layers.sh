#!/usr/bin/env bash
# Tests scripts/check_layers on trees made here: each include that it must find, and those it must
# leave alone. Prints TAP.
check=$(cd "$(dirname "$0")/.." && pwd)/scripts/check_layers
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
number=0

# Starts a tree with one header in each layer.
new_tree() {
    rm -rf "$tree/core"
    for layer in base net hub http broker proto script; do
        mkdir -p "$tree/core/$layer"
        : >"$tree/core/$layer/$layer.h"
    done
    : >"$tree/core/worker.h"
}

# Usage: report passed|failed NAME
report() {
    number=$((number + 1))
    if [ "$1" = passed ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
    fi
}

# Usage: refuses FILE LINE WORDS. The tree's check must fail, name line 2 and say the words.
refuses() {
    local output result=failed
    new_tree
    mkdir -p "$(dirname "$tree/core/$1")"
    printf '/* a file */\n%s\n' "$2" >"$tree/core/$1"
    if ! output=$("$check" "$tree") && [[ $output == *"core/$1:2: "*"$3"* ]]; then
        result=passed
    fi
    report "$result" "refused in $1: $2"
}

accepts() {
    local result=failed
    new_tree
    printf '%s\n' "$2" >"$tree/core/$1"
    if "$check" "$tree" >/dev/null; then
        result=passed
    fi
    report "$result" "accepted in $1: $2"
}

refuses base/x.c '#include "net/net.h"' 'net is not below'
refuses net/x.h '#include "hub/hub.h"' 'hub is not below'
refuses hub/x.c '#include "net/net.h"' 'net is not below'
refuses http/x.c '#include "broker/broker.h"' 'broker is not below'
refuses broker/x.c '#  include "http/http.h"' 'http is not below'
refuses proto/x.c '#include "script/script.h"' 'script is not below'
refuses script/x.c '#include "proto/proto.h" /* a reason */' 'proto is not below'
refuses script/x.c '#include "worker.h"' 'worker is not below'
refuses base/x.c '#include "base.h"' 'not a path from core/'
refuses base/x.c '#include "../net/net.h"' 'not written from core/'
refuses worker.c '#include <net/net.h>' 'write it with quotes'
refuses worker.c '#include <lua5.4/lauxlib.h>' "only core/script includes Lua's headers"
refuses main.c '#include "lua.h"' "only core/script includes Lua's headers"
refuses base/x.c '#include HEADER' 'cannot be checked'
refuses stray/x.c '#include <stdio.h>' 'core/stray is not a layer'

accepts base/x.c '#include "base/base.h"'
accepts net/x.c '#include <uv.h>'
accepts http/x.c '#include "net/net.h"'
accepts http/x.c '#include "hub/hub.h" // a reason'
accepts proto/x.c '#include "broker/broker.h"'
accepts script/x.c '#include <lua.h>'
accepts admin.c '#include "proto/proto.h"'
accepts main.c '#include "worker.h"'

echo "1..$number"

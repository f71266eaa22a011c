/* The list of the C parts of the library (see binding.h); `require` looks here first. */
#include "script/binding.h"
#include "script/hooks.h"
#include "script/json_bridge.h"

const struct lib libs[] = {
    {"moonwire.core", luaopen_moonwire_core},
    {"moonwire.hub", luaopen_moonwire_hub},
    {"moonwire.json", luaopen_moonwire_json},
    {"moonwire.http.core", luaopen_moonwire_http},
    {"moonwire.crypto", luaopen_moonwire_crypto},
    {"moonwire.jwt.core", luaopen_moonwire_jwt},
    {NULL, NULL},
};

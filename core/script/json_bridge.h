/* JSON to Lua values and back, through base/json: no tree in between. Used for the arguments of
 * events, for replies, and by mw.json. Everything here runs inside a protected call; the reader and
 * the writer are the script's own, so that a Lua error leaks nothing.
 *
 * Decoding: an integer literal that fits becomes an integer, other numbers floats; null is mw.null;
 * an array carries the metatable of mw.array; of duplicate keys the last wins.
 * Encoding: a table with the mark of mw.array is an array of its length, one with the mark of
 * mw.object an object; unmarked, keys exactly 1..n are an array, all else (the empty table too) an
 * object whose integer keys become strings. Metamethods are not asked. */
#ifndef MOONWIRE_SCRIPT_JSON_BRIDGE_H
#define MOONWIRE_SCRIPT_JSON_BRIDGE_H

#include "script/state.h"

/* Why a text was refused. */
struct json_fault {
    const char *what; /* a phrase, static */
    size_t offset;    /* in bytes */
};

/* Pushes the one value of the text: 1, or -1 with nothing pushed and *fault filled in. Raises for
 * want of memory only. */
int json_push(lua_State *L, struct span text, struct json_fault *fault);
/* Pushes the comma-separated values of the text (see hub/message.h, data): their number, which may
 * be 0, or -1 with nothing pushed. More than JSON_MAX_ARGS are refused. Where there are
 * attachments, each placeholder becomes the binary value (mw.binary) that it stands for. */
int json_push_values(lua_State *L, struct span text, struct span attachments,
                     struct json_fault *fault);
#define JSON_MAX_ARGS 64

/* Writes the values at the absolute indices first to last, separated by commas; first > last gives
 * an empty span. Borrowed until the next json_write of this script. Raises an error that names the
 * place ("data.items[3]: NaN is not JSON"), with `root` for "data"; of several values the place
 * begins with `root[2]`. */
struct span json_write(lua_State *L, int first, int last, const char *root);
/* The same for an event or a reply: binary values, which json_write puts as strings of base64, are
 * packed into *attachments (hub/attachments.h), and a placeholder stands for each. */
struct span json_write_values(lua_State *L, int first, int last, const char *root,
                              struct span *attachments);

/* Binary values: pushes one; the bytes of one, at == NULL if the value is none (borrowed from it).
 */
void json_push_binary(lua_State *L, struct span bytes);
struct span json_binary(lua_State *L, int index);
bool json_is_null(lua_State *L, int index);    /* mw.null (not nil) */
void json_mark_array(lua_State *L, int index); /* as mw.array(t) */

void json_bridge_open(lua_State *L);     /* Makes the marks, once per state. May raise. */
int luaopen_moonwire_json(lua_State *L); /* mw.json, and array, object, null beside it */

#endif

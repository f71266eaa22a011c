/* What a handler returned, as the answer it means (design section 3, "Answers"): a reply to an
 * event, or an HTTP response. All of it runs within Lua, and may raise. */
#ifndef MOONWIRE_SCRIPT_ANSWER_H
#define MOONWIRE_SCRIPT_ANSWER_H

#include "http/response.h"
#include "hub/app.h"
#include <lua.h>

/* Are the values from `first` on nil and a code: an error? */
bool answer_is_error(lua_State *L, int first);
/* The values from `first` to the top: JSON values, or an error. The spans are borrowed from the
 * stack and the JSON bridge. Raises where JSON cannot say a value. */
void answer_read(lua_State *L, int first, struct reply *reply);
/* The values as status, body and headers, into a fresh response, which the caller deinits. An error
 * has been put into the response as JSON. */
void answer_read_http(lua_State *L, int first, struct response *response);
/* {"error":{"code":...,"detail":...}} */
void answer_error_http(struct response *response, struct span code, struct span detail);

#endif

/* The Lua object of an HTTP request (on_request, on_auth, routes, client.request). */
#ifndef MOONWIRE_SCRIPT_LIB_REQUEST_H
#define MOONWIRE_SCRIPT_LIB_REQUEST_H

#include "script/hooks.h"

void lib_request_open(lua_State *L); /* makes the types */
/* Pushes a request object, which takes references. The exchange, for mw.sse, may be NULL. */
void request_push(lua_State *L, const struct request *r, struct exchange *x);
/* Sets request.params of the object on top of the stack, from a path that matches the pattern. */
void request_set_params(lua_State *L, const struct pattern *pattern, struct span path);
/* Sets request.auth of the object on top of the stack to this JSON; NULL: leaves it to the request.
 */
void request_set_auth(lua_State *L, const struct buf *json);
/* Pops a value and makes it request.auth of the object below it. */
void request_put_auth(lua_State *L);
/* Pushes what a path that matches the pattern has in place of its parameters. */
void request_push_params(lua_State *L, const struct pattern *pattern, struct span path);
/* The request object at the index; the exchange is NULL where there is none to turn into a stream.
 */
struct request *request_check(lua_State *L, int arg, struct exchange **x);

#endif

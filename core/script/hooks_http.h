/* The app's functions that concern HTTP requests: where they lead, their guard, and routes. */
#ifndef MOONWIRE_SCRIPT_HOOKS_HTTP_H
#define MOONWIRE_SCRIPT_HOOKS_HTTP_H

#include "script/hooks.h"

void hooks_http_fill_app(struct app *app);

#endif

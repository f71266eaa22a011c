/* A session as text that outlives the process, for recovery on disk (hub/recovery.h). */
#ifndef MOONWIRE_SCRIPT_KEEP_H
#define MOONWIRE_SCRIPT_KEEP_H

struct app;

void keep_fill_app(struct app *app);

#endif

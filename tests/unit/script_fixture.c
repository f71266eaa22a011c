/* See script_fixture.h. */
#include "script_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "script/version.h"

void script_fixture_open(struct script_fixture *f, uint64_t budget_ms, size_t lua_memory) {
    memset(f, 0, sizeof(*f));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    config_init(&f->config);
    f->config.handler_budget = budget_ms;
    if (lua_memory != 0) {
        f->config.lua_memory = lua_memory;
    }
    assert_int_equal(io_init(&f->io, &f->loop, &f->config, &f->metrics), 0);

    strcpy(f->dir, "/tmp/moonwire-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/app.lua", f->dir);
    char log_path[96];
    snprintf(log_path, sizeof(log_path), "%s/log", f->dir);
    FILE *file = fopen(log_path, "w+");
    assert_non_null(file);
    f->log = (struct log){LOG_INFO, false, dup(fileno(file))};
    fclose(file);

    struct script_env env = {
        .io = &f->io, .config = &f->config, .log = &f->log, .metrics = &f->metrics};
    assert_int_equal(state_open(&f->script, &env, f->path), 0);
}

void script_fixture_close(struct script_fixture *f) {
    char command[128];
    state_stop(&f->script);
    io_stop(&f->io);
    while (uv_run(&f->loop, UV_RUN_DEFAULT) != 0) {
    }
    state_close(&f->script);
    io_deinit(&f->io);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    config_deinit(&f->config);
    writer_deinit(&f->logged);
    close(f->log.fd);
    snprintf(command, sizeof(command), "rm -r '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

static void copy_text(char *out, size_t size, const char *at, size_t len) {
    len = len < size ? len : size - 1;
    memcpy(out, at, len);
    out[len] = '\0';
}

static int begin_piece(lua_State *L, void *data) {
    struct piece *piece = data;
    if (luaL_loadbuffer(L, piece->code, strlen(piece->code), "=piece") != LUA_OK) {
        lua_error(L);
    }
    return 0;
}

static void end_piece(lua_State *L, void *data, int first) {
    struct piece *piece = data;
    size_t len = 0;
    lua_settop(L, first);
    const char *text = luaL_tolstring(L, first, &len);
    copy_text(piece->result, sizeof(piece->result), text, len);
}

static void piece_done(void *data, enum task_end how) {
    struct piece *piece = data;
    piece->runs++;
    piece->how = how;
    uv_stop(piece->loop); /* nothing may be left to poll for in this turn */
}

static void piece_failed(void *data, struct span message, struct span lines) {
    struct piece *piece = data;
    copy_text(piece->message, sizeof(piece->message), message.at, message.len);
    copy_text(piece->lines, sizeof(piece->lines), lines.len > 0 ? lines.at : "", lines.len);
}

static const struct task_kind piece_kind = {.hook = HOOK_ROUTE,
                                            .begin = begin_piece,
                                            .end = end_piece,
                                            .done = piece_done,
                                            .failed = piece_failed};

void run_piece(struct script_fixture *f, struct piece *piece, const char *code) {
    memset(piece, 0, sizeof(*piece));
    piece->code = code;
    piece->loop = &f->loop;
    task_run(&f->script, &piece_kind, piece, f->script.version, NULL);
}

const char *run_to_end(struct script_fixture *f, struct piece *piece, const char *code) {
    run_piece(f, piece, code);
    while (piece->runs == 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(piece->runs, 1);
    return piece->how == TASK_RETURNED ? piece->result : piece->message;
}

struct span fixture_log(struct script_fixture *f) {
    char chunk[4096];
    ssize_t n;
    off_t at = 0;
    writer_clear(&f->logged);
    while ((n = pread(f->log.fd, chunk, sizeof(chunk), at)) > 0) {
        writer_put(&f->logged, chunk, (size_t)n);
        at += n;
    }
    writer_putc(&f->logged, '\0'); /* so that strstr will do */
    struct span text = writer_span(&f->logged);
    return (struct span){text.at, text.len - 1};
}

void fixture_write(struct script_fixture *f, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

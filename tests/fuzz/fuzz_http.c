/* The request parser: any bytes, in pieces of any size, give the same requests and the same refusal
 * as in one piece; and what it accepts holds to its promises. The first byte of the input is the
 * size of the pieces. */
#include "http/parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const struct parse_limits limits = {.max_head = 1024, .max_headers = 16, .max_body = 256};

static void expect(bool condition) {
    if (!condition)
        abort();
}

/* Parses one request; returns how many bytes it took. */
static size_t parse(struct parser *p, const char *bytes, size_t len, size_t piece) {
    size_t at = 0;
    parser_reset(p, &limits);
    while (at < len && !p->status && p->phase != PARSE_DONE) {
        size_t size = len - at < piece ? len - at : piece;
        size_t used = parser_feed(p, bytes + at, size, "::1", false);
        expect(used <= size && (used || p->status));
        at += used;
    }
    return at;
}

static bool same(struct span a, struct span b) {
    return span_equal(a, b) && (a.at == NULL) == (b.at == NULL);
}

static void check_same(const struct request *a, const struct request *b) {
    expect(same(request_method(a), request_method(b)));
    expect(same(request_target(a), request_target(b)));
    expect(same(request_path(a), request_path(b)));
    expect(same(request_query(a), request_query(b)));
    expect(same(request_body(a), request_body(b)));
    expect(request_header_count(a) == request_header_count(b));
    for (size_t i = 0; i < request_header_count(a); i++) {
        struct span name[2];
        struct span value[2];
        request_header_at(a, i, &name[0], &value[0]);
        request_header_at(b, i, &name[1], &value[1]);
        expect(same(name[0], name[1]) && same(value[0], value[1]));
    }
}

static void check_path(struct span path) {
    expect(path.len && path.at[0] == '/' && !memchr(path.at, '\0', path.len));
    expect(!memmem(path.at, path.len, "/../", 4) && !memmem(path.at, path.len, "/./", 3));
    expect(path.len < 3 || memcmp(path.at + path.len - 3, "/..", 3) != 0);
}

static void check_promises(const struct parser *p) {
    const struct request *r = p->request;
    check_path(request_path(r));
    expect(request_body(r).len <= limits.max_body);
    expect(request_header_count(r) <= limits.max_headers);
    expect(request_minor(r) == 0 || request_header(r, "host").at);
    expect(!p->upgrade || span_is(request_method(r), "GET"));
    bool chunked = request_header(r, "transfer-encoding").at;
    expect(!chunked || !request_header(r, "content-length").at);
    for (size_t i = 0; i < request_header_count(r); i++) {
        struct span name;
        struct span value;
        request_header_at(r, i, &name, &value);
        expect(name.len && !memchr(name.at, ' ', name.len) && !memchr(name.at, ':', name.len));
        expect(!memchr(value.at, '\r', value.len) && !memchr(value.at, '\n', value.len));
    }
    struct request *kept = request_keep(r);
    expect(same(request_path(kept), request_path(r)) && !request_header(kept, "upgrade").at);
    request_unref(kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    const char *bytes = (const char *)data + 1;
    size_t piece = (size_t)data[0] + 1;
    size_t len = size - 1;
    struct parser whole = {0};
    struct parser pieces = {0};
    for (bool again = len; again;) {
        size_t used = parse(&whole, bytes, len, len);
        size_t used_in_pieces = parse(&pieces, bytes, len, piece);
        expect(whole.phase == pieces.phase || whole.status);
        expect(whole.status == pieces.status);
        again = !whole.status && whole.phase == PARSE_DONE;
        if (!again)
            break;
        expect(used == used_in_pieces && used);
        check_same(whole.request, pieces.request);
        check_promises(&whole);
        bytes += used;
        len -= used;
        again = len;
    }
    parser_deinit(&whole);
    parser_deinit(&pieces);
    return 0;
}

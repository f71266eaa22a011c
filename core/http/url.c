/* Decoding and walking what clients write into targets and fields. Everything here is a pure
 * function of untrusted bytes; http/request and the layers above call it. */
#include "http/url.h"

#include <string.h>
#include <uv.h>

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Reads one character at *at, escaped or not; -1: a malformed escape. */
static int next_char(const char *text, size_t len, size_t *at) {
    if (text[*at] != '%')
        return (unsigned char)text[(*at)++];
    if (len - *at < 3)
        return -1;
    int high = hex_digit(text[*at + 1]);
    int low = hex_digit(text[*at + 2]);
    *at += 3;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool url_decode(struct writer *out, struct span text, bool plus) {
    char *to = writer_reserve(out, text.len);
    size_t len = 0;
    for (size_t at = 0; at < text.len;) {
        bool space = plus && text.at[at] == '+';
        int c = next_char(text.at, text.len, &at);
        if (c < 0)
            return false;
        to[len++] = (char)(space ? ' ' : c);
    }
    writer_advance(out, len);
    return true;
}

/* RFC 3986 section 5.2.4, on a decoded path: so an encoded dot is a dot. The result is never longer
 * than what has been read. */
static size_t remove_dot_segments(char *path, size_t len) {
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        size_t end = at + 1; /* path[at] is the slash of this segment */
        while (end < len && path[end] != '/')
            end++;
        size_t segment = end - at - 1;
        bool dot = segment == 1 && path[at + 1] == '.';
        bool up = segment == 2 && path[at + 1] == '.' && path[at + 2] == '.';
        if (up) {
            while (out && path[--out] != '/')
                continue;
        }
        if (!dot && !up) {
            memmove(path + out, path + at, end - at);
            out += end - at;
        } else if (end == len) {
            path[out++] = '/';
        }
        at = end;
    }
    return out;
}

long url_path(char *path, size_t len) {
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        int c = next_char(path, len, &at);
        if (c <= 0)
            return UV_EINVAL;
        path[out++] = (char)c;
    }
    if (!out || path[0] != '/')
        return UV_EINVAL;
    return (long)remove_dot_segments(path, out);
}

bool char_is(char c, const char *others) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr(others, c));
}

bool token_char(char c) {
    return char_is(c, "!#$%&'*+-.^_`|~");
}

bool token_valid(struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        if (!token_char(text.at[i]))
            return false;
    }
    return text.len;
}

struct span span_trim(struct span text) {
    while (text.len && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.len--;
    }
    while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Cuts rest at the first separator. */
static struct span cut(struct span *rest, char separator) {
    const char *mark = memchr(rest->at, separator, rest->len);
    struct span item = {rest->at, mark ? (size_t)(mark - rest->at) : rest->len};
    size_t used = item.len + (mark ? 1 : 0);
    rest->at += used;
    rest->len -= used;
    return item;
}

/* Splits at the first '='; without one everything is the name. */
static void split_pair(struct span pair, struct span *name, struct span *value) {
    *value = pair;
    *name = cut(value, '=');
}

bool query_next(struct span *rest, struct span *key, struct span *value) {
    while (rest->len) {
        struct span pair = cut(rest, '&');
        if (!pair.len)
            continue;
        split_pair(pair, key, value);
        return true;
    }
    return false;
}

/* RFC 6265 section 5.4 as servers read it: pairs without a name are left out. */
bool cookie_next(struct span *rest, struct span *name, struct span *value) {
    while (rest->len) {
        struct span pair = cut(rest, ';');
        if (!memchr(pair.at, '=', pair.len))
            continue;
        split_pair(pair, name, value);
        *name = span_trim(*name);
        *value = span_trim(*value);
        if (value->len >= 2 && value->at[0] == '"' && value->at[value->len - 1] == '"')
            *value = (struct span){value->at + 1, value->len - 2};
        if (name->len)
            return true;
    }
    return false;
}

bool list_next(struct span *rest, struct span *item) {
    while (rest->len) {
        *item = span_trim(cut(rest, ','));
        if (item->len)
            return true;
    }
    return false;
}

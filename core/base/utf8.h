/* UTF-8 (RFC 3629): whole strings with an ASCII fast path, and pieces of one as they arrive. */
#ifndef MOONWIRE_BASE_UTF8_H
#define MOONWIRE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_valid(const char *bytes, size_t len);
/* The number of bytes of the first character: 0 if it is not valid, not complete, or not there. */
size_t utf8_length(const char *bytes, size_t len);

/* Across pieces: zero-initialised at the start; false as soon as no continuation can be valid
 * (RFC 6455 wants a connection failed at once); utf8_done says whether a character is complete. */
struct utf8_state {
    uint32_t state;
};
bool utf8_feed(struct utf8_state *s, const char *bytes, size_t len);
bool utf8_done(const struct utf8_state *s);

#endif

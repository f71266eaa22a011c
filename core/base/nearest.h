/* Which known name was meant: for error messages about a word that is none of them. */
#ifndef MOONWIRE_BASE_NEAREST_H
#define MOONWIRE_BASE_NEAREST_H

#include "base/buf.h"

/* The name with the smallest edit distance (an exchange of neighbours counts as one) among `count`
 * strings, the first of them `stride` bytes apart from the next: an array of char pointers, or of
 * structs that begin with one. NULL where none is near enough to be a likely slip. */
const char *nearest_name(struct span word, const void *names, size_t count, size_t stride);
/* The same by hand, for names that do not lie in an array. */
unsigned nearest_distance(struct span a, struct span b);
unsigned nearest_limit(struct span word); /* The largest distance of a likely slip. */

#endif

/* Floating-point numbers as decimal text, both ways exact and without regard to the locale: printed
 * as JavaScript's Number.prototype.toString prints them, read to the nearest double. */
#ifndef MOONWIRE_BASE_NUMBER_H
#define MOONWIRE_BASE_NUMBER_H

#include "base/buf.h"

#define NUMBER_MAX 32 /* No number prints longer, nor does an integer of 64 bits. */

/* Writes the shortest digits that read back as value, which must be finite; -0 is "0". Returns the
 * length, at most NUMBER_MAX. Not NUL-terminated. */
size_t number_print(char *out, double value);
size_t number_print_integer(char *out, long long value);

/* text must match JSON's grammar of a number (RFC 8259 section 6). Rounds to nearest, ties to even;
 * infinity where no double is near. */
double number_parse(struct span text);

#endif

/* 1 KiB of JSON as applications send it: an object with strings, numbers, and an array of objects.
 */
#ifndef MOONWIRE_TESTS_MICRO_SAMPLE_H
#define MOONWIRE_TESTS_MICRO_SAMPLE_H

#include "base/buf.h"

struct span sample_json(void);

#endif

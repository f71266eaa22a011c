/* Edit distance (restricted Damerau-Levenshtein) over short names. Called for error messages only,
 * so it is simple and not fast. */
#include "base/nearest.h"

#include <string.h>

#define LONGEST 64 /* Longer words are compared by their beginning. */

static unsigned min(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Letters of the other case, and '-' for '_', are no difference at all. */
static char fold(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c == '-' ? '_' : c;
}

unsigned nearest_distance(struct span a, struct span b) {
    /* Three rows of the table are enough: of a's letter, the one before, and the one before that.
     */
    unsigned rows[3][LONGEST + 1];
    size_t n = a.len < LONGEST ? a.len : LONGEST, m = b.len < LONGEST ? b.len : LONGEST;
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= n; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            char x = fold(a.at[i - 1]), y = fold(b.at[j - 1]);
            row[j] = min(above[j - 1] + (x != y), min(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && x == fold(b.at[j - 2]) && fold(a.at[i - 2]) == y) {
                row[j] = min(row[j], before[j - 2] + 1);
            }
        }
    }
    return rows[n % 3][m];
}

unsigned nearest_limit(struct span word) {
    return word.len < 2   ? 0
           : word.len < 4 ? 1
           : word.len < 6 ? 2
                          : min(2 + (unsigned)(word.len / 6), 4);
}

const char *nearest_name(struct span word, const void *names, size_t count, size_t stride) {
    const char *best = NULL;
    unsigned least = nearest_limit(word) + 1;
    for (size_t i = 0; i < count; i++) {
        const char *name;
        memcpy(&name, (const char *)names + i * stride, sizeof name);
        unsigned distance = nearest_distance(word, span_of(name));
        if (distance < least) {
            least = distance;
            best = name;
        }
    }
    return best;
}

/* Nothing is left to chance while instructions are counted: these take the place of the functions
 * by which the process would get a different key, id or seed in each run, and with them other
 * collisions in hash tables. Linked into `micro` alone. */
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <time.h>

/* In place of libc's: numbers of a fixed sequence (xorshift), which differ from each other, since
 * ids are made of them. */
ssize_t getrandom(void *bytes, size_t len, unsigned flags) {
    static uint64_t state = 0x9e3779b97f4a7c15;
    unsigned char *at = bytes;
    (void)flags;
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        at[i] = (unsigned char)(state >> 32);
    }
    return (ssize_t)len;
}

/* In place of the one call of luaS_hash from outside of its file (the linker is told to wrap it),
 * which makes the seed of Lua's hash tables out of the time and of addresses: of the stack, which
 * lies lower in a larger environment, and of code, which moves with every change to it. */
unsigned __wrap_luaS_hash(const char *text, size_t len, unsigned seed);

__attribute__((used)) unsigned __wrap_luaS_hash(const char *text, size_t len, unsigned seed) {
    (void)text;
    (void)len;
    (void)seed;
    return 0x6d6f6f6e;
}

/* Decimal text to double and back. Most numbers have few digits and take exact short cuts; the
 * others go through libc, whose results are correctly rounded. Called by base/json and
 * base/metrics. */
#include "base/number.h"

#include <float.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Powers of ten: a double holds those up to 22 exactly, the long double of x86 those up to 27. */
static const long double POWERS[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,
                                     1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                     1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L,
                                     1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
#define MAX_POWER 22
#define MAX_LONG_POWER 27
#define MAX_EXACT 9007199254740992.0 /* 2^53: integers up to here are exact. */

/* mantissa * 10^power, if one operation on exact numbers gives the nearest double. Where digits and
 * power are both doubles it does. Where they need a long double of 64 bits, its result is rounded a
 * second time to 53, which is right unless the first rounding may have moved it across the middle
 * between two doubles: the lowest 11 bits tell. */
static inline bool scale(unsigned long long mantissa, int power, double *value) {
    if (mantissa <= (unsigned long long)MAX_EXACT && power <= MAX_POWER && power >= -MAX_POWER) {
        double exact = (double)POWERS[power < 0 ? -power : power];
        *value = power < 0 ? (double)mantissa / exact : (double)mantissa * exact;
        return true;
    }
#if LDBL_MANT_DIG == 64
    if (mantissa != 0 && power <= MAX_LONG_POWER && power >= -MAX_LONG_POWER) {
        long double wide = power < 0 ? (long double)mantissa / POWERS[-power]
                                     : (long double)mantissa * POWERS[power];
        unsigned long long bits;
        memcpy(&bits, &wide, sizeof bits); /* x86 keeps the 64 bits of the fraction first. */
        unsigned low = bits & 0x7ff;
        *value = (double)wide;
        return low < 0x3ff || low > 0x401;
    }
#endif
    return false;
}

/* --- printing --------------------------------------------------------------------------------- */

static size_t print_unsigned(char *out, unsigned long long value) {
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    memcpy(out, digits + n, sizeof digits - n);
    return sizeof digits - n;
}

size_t number_print_integer(char *out, long long value) {
    if (value >= 0) {
        return print_unsigned(out, (unsigned long long)value);
    }
    *out = '-';
    return 1 + print_unsigned(out + 1, 0 - (unsigned long long)value);
}

/* The digits of a number, d1 to dn, for 0.d1d2...dn times ten to the point. */
struct decimal {
    char digits[24];
    int count;
    int point;
};

/* Two or three decimals, as prices and measurements have: the first power of ten that makes value
 * an integer of at most 15 digits. Both operands of the division are exact, so it gives the double
 * nearest to that decimal, and no other of up to 15 digits reads back as the same double. */
static bool few_decimals(double value, struct decimal *d) {
    static const double TENS[] = {10, 100, 1000};
    for (int i = 0; i < 3; i++) {
        double scaled = nearbyint(value * TENS[i]);
        if (scaled < 1e15 && scaled / TENS[i] == value) {
            d->count = (int)print_unsigned(d->digits, (unsigned long long)scaled);
            d->point = d->count - i - 1;
            return true;
        }
    }
    return false;
}

/* The fewest of 17 digits that read back as value. Where the long double has 64 bits, value *
 * 10^power is known to 2^-7, so rounding it to 15, 16 or 17 digits gives the nearest decimal of
 * that length, but near the middle between two of them. False there, and out of range. */
static bool short_digits(double value, struct decimal *d) {
#if LDBL_MANT_DIG == 64
    int exponent;
    bool power_of_two = frexp(value, &exponent) == 0.5; /* See shortest_digits. */
    int power = 16 - (int)floor((exponent - 1) * 0.30103);
    if (power_of_two || power > MAX_LONG_POWER || power < 1 - MAX_LONG_POWER) {
        return false;
    }
    long double scaled = power < 0 ? value / POWERS[-power] : value * POWERS[power];
    if (scaled >= 1e17L) {
        power--;
        scaled = power < 0 ? value / POWERS[-power] : value * POWERS[power];
    }
    unsigned long long whole = (unsigned long long)scaled;
    int left_out = 2;
    for (unsigned unit = 100; unit != 0; unit /= 10, left_out--) {
        long double beyond = (long double)(whole % unit) + (scaled - (long double)whole);
        long double above_middle = 2 * beyond - unit;
        if (fabsl(above_middle) < 1 / 32.0L) {
            return false;
        }
        unsigned long long digits = whole / unit + (above_middle > 0);
        double back;
        if (!scale(digits, left_out - power, &back)) {
            return false;
        }
        if (back == value) {
            d->count = (int)print_unsigned(d->digits, digits);
            d->point = d->count + left_out - power;
            return true;
        }
    }
#else
    (void)value;
    (void)d;
#endif
    return false;
}

/* libc's digits in scientific form: "d.dddde-dd", where the point may be any locale's. */
static void take_digits(struct decimal *d, const char *text) {
    const char *at = text;
    d->count = 0;
    for (; *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9') {
            d->digits[d->count++] = *at;
        }
    }
    d->point = atoi(at + 1) + 1;
}

static double value_of(const struct decimal *d) {
    char text[48];
    int len = snprintf(text, sizeof text, "%.*se%d", d->count, d->digits, d->point - d->count);
    return number_parse((struct span){text, (size_t)len});
}

/* The next decimal of as many digits. */
static void step_up(struct decimal *d) {
    int i = d->count - 1;
    while (i >= 0 && d->digits[i] == '9') {
        d->digits[i--] = '0';
    }
    if (i >= 0) {
        d->digits[i]++;
    } else {
        d->digits[0] = '1';
        d->point++;
    }
}

/* Fewer than 15 digits need not be tried for normal numbers: they would show as zeros at the end.
 * The doubles below a power of two lie closer than those above, so there the nearest decimal of a
 * length may miss where the next one up hits (2^-44 is 5.684341886080802e-14). */
static void shortest_digits(double value, struct decimal *d) {
    int exponent;
    bool power_of_two = frexp(value, &exponent) == 0.5;
    for (int count = value < DBL_MIN ? 1 : 15; count <= 17; count++) {
        char text[40];
        snprintf(text, sizeof text, "%.*e", count - 1, value);
        take_digits(d, text);
        if (value_of(d) == value) {
            break;
        }
        if (power_of_two) {
            step_up(d);
            if (value_of(d) == value) {
                break;
            }
        }
    }
}

static char *put_digits(char *out, const char *digits, int count) {
    memcpy(out, digits, (size_t)count);
    return out + count;
}

static char *put_zeros(char *out, int count) {
    memset(out, '0', (size_t)count);
    return out + count;
}

/* ECMA-262, Number::toString: plain notation from 1e-6 up to below 1e21, exponents elsewhere. */
static char *put_decimal(char *out, const struct decimal *d) {
    if (d->point > 21 || d->point <= -6) {
        *out++ = d->digits[0];
        if (d->count > 1) {
            *out++ = '.';
            out = put_digits(out, d->digits + 1, d->count - 1);
        }
        *out++ = 'e';
        *out++ = d->point > 0 ? '+' : '-';
        return out + print_unsigned(out, (unsigned)abs(d->point - 1));
    }
    if (d->point <= 0) {
        *out++ = '0';
        *out++ = '.';
        return put_digits(put_zeros(out, -d->point), d->digits, d->count);
    }
    if (d->count <= d->point) {
        return put_zeros(put_digits(out, d->digits, d->count), d->point - d->count);
    }
    out = put_digits(out, d->digits, d->point);
    *out++ = '.';
    return put_digits(out, d->digits + d->point, d->count - d->point);
}

size_t number_print(char *out, double value) {
    char *at = out;
    struct decimal d;
    if (value < 0) {
        *at++ = '-';
        value = -value;
    }
    if (value < MAX_EXACT && value == (double)(unsigned long long)value) {
        return (size_t)(at - out) + print_unsigned(at, (unsigned long long)value);
    }
    if (!few_decimals(value, &d) && !short_digits(value, &d)) {
        shortest_digits(value, &d);
    }
    while (d.count > 1 && d.digits[d.count - 1] == '0') {
        d.count--;
    }
    return (size_t)(put_decimal(at, &d) - out);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Digits beyond these cannot change the result, except that they are there: halfway between two
 * doubles needs at most 767 digits. */
#define MAX_DIGITS 780

/* Significant digits, without leading zeros, for 0.d1d2...dn times ten to the point. */
struct digits {
    char text[MAX_DIGITS + 32];
    size_t count;
    long long point;
};

static void add_digit(struct digits *d, char digit) {
    if (d->count < MAX_DIGITS) {
        d->text[d->count++] = digit;
    } else if (digit != '0') {
        d->text[MAX_DIGITS - 1] = '1';
    }
}

/* Long numbers, and those with large exponents. */
static double parse_slowly(struct span text) {
    const char *at = text.at, *end = text.at + text.len;
    bool negative = *at == '-';
    bool fraction = false;
    struct digits d = {.count = 0, .point = 0};
    for (at += negative; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            fraction = true;
        } else if (*at == '0' && d.count == 0) {
            d.point -= fraction;
        } else {
            add_digit(&d, *at);
            d.point += !fraction;
        }
    }
    long long exponent = 0;
    if (at < end) {
        bool below = at[1] == '-';
        for (at += 1 + (at[1] == '-' || at[1] == '+'); at < end; at++) {
            /* Beyond any text's number of zeros it is as good as infinite. */
            exponent = exponent < LLONG_MAX / 100 ? exponent * 10 + (*at - '0') : exponent;
        }
        exponent = below ? -exponent : exponent;
    }
    if (d.count == 0) {
        return negative ? -0.0 : 0.0;
    }
    exponent += d.point - (long long)d.count;
    exponent = exponent > 100000 ? 100000 : exponent < -100000 ? -100000 : exponent;
    snprintf(d.text + d.count, 32, "e%lld", exponent);
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* A constant object of libc. */
    double value = strtod_l(d.text, NULL, c);
    freelocale(c);
    return negative ? -value : value;
}

/* Up to 19 digits and an exponent of one or two, which is nearly every number. */
double number_parse(struct span text) {
    const char *at = text.at, *end = text.at + text.len;
    bool negative = at < end && *at == '-';
    at += negative;
    const char *first = at;
    unsigned long long mantissa = 0;
    int exponent = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        mantissa = mantissa * 10 + (unsigned)(*at - '0');
    }
    bool fits = at - first <= 19; /* Or the mantissa may have wrapped. */
    if (at < end && *at == '.') {
        const char *point = at++;
        for (; at < end && *at >= '0' && *at <= '9'; at++) {
            mantissa = mantissa * 10 + (unsigned)(*at - '0');
        }
        fits = at - first <= 20;
        exponent = fits ? -(int)(at - point - 1) : 0;
    }
    if (fits && at < end) {
        bool below = *++at == '-';
        at += below || *at == '+';
        fits = end - at <= 2;
        int given = 0;
        for (; fits && at < end; at++) {
            given = given * 10 + (*at - '0');
        }
        exponent += below ? -given : given;
    }
    double value;
    if (!fits || !scale(mantissa, exponent, &value)) {
        return parse_slowly(text);
    }
    return negative ? -value : value;
}

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

/* Powers of ten that a double holds exactly. */
static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define MAX_POWER 22
#define MAX_EXACT 9007199254740992.0 /* 2^53: integers up to here are exact. */

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

/* A fraction of few digits, such as 12.5 or 0.001: the first power of ten that makes it an integer
 * of at most 15 digits. Both operands of the division are exact, so it gives the double nearest to
 * that decimal, and no other decimal of up to 15 digits reads back as the same double. */
static bool few_digits(double value, struct decimal *d) {
    for (int power = 1; power <= 17; power++) {
        double scaled = nearbyint(value * POWERS[power]);
        if (scaled >= 1e15) {
            return false;
        }
        if (scaled / POWERS[power] == value) {
            d->count = (int)print_unsigned(d->digits, (unsigned long long)scaled);
            d->point = d->count - power;
            return true;
        }
    }
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
    while (d->count > 1 && d->digits[d->count - 1] == '0') {
        d->count--;
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
    if (value >= MAX_EXACT || !few_digits(value, &d)) {
        shortest_digits(value, &d);
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

/* Up to 19 digits and a small exponent: where digits and power of ten are both exact doubles, one
 * multiplication or division rounds once, and so correctly. */
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
    if (at < end && *at == '.') {
        const char *point = at++;
        for (; at < end && *at >= '0' && *at <= '9'; at++) {
            mantissa = mantissa * 10 + (unsigned)(*at - '0');
        }
        exponent = -(int)(at - point - 1 < 100 ? at - point - 1 : 100);
    }
    bool exact = at - first <= 19 && mantissa <= (unsigned long long)MAX_EXACT;
    if (exact && at < end) { /* An exponent of one or two digits. */
        bool below = *++at == '-';
        at += below || *at == '+';
        exact = end - at <= 2;
        int given = 0;
        for (; exact && at < end; at++) {
            given = given * 10 + (*at - '0');
        }
        exponent += below ? -given : given;
    }
    if (!exact || exponent > MAX_POWER || exponent < -MAX_POWER) {
        return parse_slowly(text);
    }
    double value = (double)mantissa;
    value = exponent < 0 ? value / POWERS[-exponent] : value * POWERS[exponent];
    return negative ? -value : value;
}

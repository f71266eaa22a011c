/* base/log: both forms, what is quoted, and that one record is one line whatever is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"

static int out[2];
static char text[8192];

static int open_pipe(void **state) {
    (void)state;
    return pipe(out);
}

static int close_pipe(void **state) {
    (void)state;
    close(out[0]);
    close(out[1]);
    return 0;
}

/* What was logged since the last call; the time, once looked at, is taken off. */
static const char *logged(void) {
    char end = '\x01';
    assert_int_equal(write(out[1], &end, 1), 1);
    size_t len = 0;
    while (len == 0 || text[len - 1] != '\x01') {
        ssize_t n = read(out[0], text + len, sizeof text - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    text[len - 1] = '\0';
    if (text[0] == '\0') {
        return text;
    }
    bool json = text[0] == '{';
    char *time = text + (json ? strlen("{\"time\":\"") : 0);
    const char *form = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; form[i] != '\0'; i++) {
        assert_true(form[i] == 'd' ? time[i] >= '0' && time[i] <= '9' : time[i] == form[i]);
    }
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    text[strlen(text) - 1] = '\0';
    return time + strlen(form) + (json ? 2 : 1);
}

static void a_text_line_is_logfmt(void **state) {
    (void)state;
    struct log log = {.level = LOG_INFO, .json = false, .fd = out[1]};
    struct log_line line;
    log_begin(&line, &log, LOG_INFO, "listening");
    log_fieldf(&line, "port", "%d", 3000);
    log_field(&line, "host", SPAN("127.0.0.1"));
    log_field(&line, "name", SPAN("two words"));
    log_field(&line, "empty", SPAN(""));
    log_field(&line, "quote", SPAN("a\"b"));
    log_field(&line, "path", SPAN("a\\b"));
    log_field(&line, "pair", SPAN("a=b"));
    log_field(&line, "umlaut", SPAN("gr\xc3\xbc\xc3\x9f"));
    log_field(&line, "odd key", SPAN("x"));
    log_field_json(&line, "data", SPAN("{\"a\":\n[1, 2]}"));
    log_end(&line);
    assert_string_equal(logged(), "info listening port=3000 host=127.0.0.1 name=\"two words\" "
                                  "empty=\"\" quote=\"a\\\"b\" path=\"a\\\\b\" pair=\"a=b\" "
                                  "umlaut=gr\xc3\xbc\xc3\x9f odd_key=x data={\"a\": [1, 2]}");
}

static void a_json_line_is_an_object(void **state) {
    (void)state;
    struct log log = {.level = LOG_DEBUG, .json = true, .fd = out[1]};
    struct log_line line;
    log_begin(&line, &log, LOG_WARN, "it said \"no\"\nand went");
    log_fieldf(&line, "n", "%.1f", -3.5);
    log_field(&line, "name", SPAN("12"));
    log_fieldf(&line, "version", "%d.%d.%d", 1, 2, 3);
    log_fieldf(&line, "padded", "%3d", 1);
    log_fieldf(&line, "quoted", "\"\\n%s", "");
    log_field(&line, "a\"b", SPAN("tab\there"));
    log_field_json(&line, "data", SPAN("[1,\r\n2]"));
    log_end(&line);
    assert_string_equal(
        logged(),
        "\"level\":\"warn\",\"message\":\"it said \\\"no\\\"\\nand went\","
        "\"n\":-3.5,\"name\":\"12\",\"version\":\"1.2.3\","
        "\"padded\":\"  1\",\"quoted\":\"\\\"\\\\n\",\"a\\\"b\":\"tab\\there\",\"data\":[1,  2]}");
}

static void what_is_below_the_level_is_dropped(void **state) {
    (void)state;
    struct log log = {.level = LOG_WARN, .json = false, .fd = out[1]};
    struct log_line line;
    log_begin(&line, &log, LOG_INFO, "no");
    log_field(&line, "a", SPAN("b"));
    log_fieldf(&line, "a", "%d", 1);
    log_field_json(&line, "a", SPAN("1"));
    log_end(&line);
    log_printf(&log, LOG_DEBUG, "no");
    assert_string_equal(logged(), "");
    log_printf(&log, LOG_WARN, "%s %d", "yes", 1);
    assert_string_equal(logged(), "warn yes 1");
    log_printf(&log, LOG_ERROR, "yes");
    assert_string_equal(logged(), "error yes");
}

static void nothing_breaks_a_line_or_reaches_a_terminal(void **state) {
    (void)state;
    struct log log = {.level = LOG_INFO, .json = false, .fd = out[1]};
    struct log_line line;
    log_begin(&line, &log, LOG_INFO, "a\nb\r\x1b[31m");
    log_field(&line, "v",
              SPAN("\x1b]0;\x07\x7f\0\xc2\x9b"
                   "1m"));
    log_field(&line, "bad", SPAN("\xff\xc3"));
    log_field(&line, "k\n=\xff", SPAN("1"));
    log_end(&line);
    assert_string_equal(logged(), "info a\\nb\\r\\u001b[31m "
                                  "v=\"\\u001b]0;\\u0007\\u007f\\u0000\\u009b1m\" "
                                  "bad=\"\xef\xbf\xbd\xef\xbf\xbd\" k___=1");
}

static void every_byte_stays_on_its_line(void **state) {
    (void)state;
    struct log log = {.level = LOG_INFO, .fd = out[1]};
    for (int json = 0; json < 2; json++) {
        for (int byte = 0; byte < 256; byte++) {
            struct log_line line;
            char value[3] = {'x', (char)byte, 'y'};
            char key[4] = {'k', (char)byte, 'z', '\0'};
            log.json = json;
            log_begin(&line, &log, LOG_INFO, key);
            log_field(&line, key, (struct span){value, sizeof value});
            log_end(&line);
            const char *rest = logged(); /* Looks for the one line break itself. */
            for (; *rest != '\0'; rest++) {
                assert_true((unsigned char)*rest >= 0x20 && *rest != 0x7f);
            }
        }
    }
}

static void levels_have_names(void **state) {
    (void)state;
    enum log_level level = LOG_DEBUG;
    assert_int_equal(log_level_parse("warn", &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_parse("loud", &level), UV_EINVAL);
    assert_int_equal(log_level_parse("", &level), UV_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_line_is_logfmt),
        cmocka_unit_test(a_json_line_is_an_object),
        cmocka_unit_test(what_is_below_the_level_is_dropped),
        cmocka_unit_test(nothing_breaks_a_line_or_reaches_a_terminal),
        cmocka_unit_test(every_byte_stays_on_its_line),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, open_pipe, close_pipe);
}

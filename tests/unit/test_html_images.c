/* SPDX-License-Identifier: Apache-2.0 */
/* html_images: which names are taken for images, and what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/campaign/html_images.h"

static char seen[1000];

/* "none" is refused, "alone" left alone, everything else gets the id ID. */
static int
id_of(void *ctx, enum html_image kind, struct slice name, struct slice *id, struct err *err)
{
	(void)ctx;
	(void)strcat(seen, kind == HTML_IMAGE_CID ? "c:" : "f:");
	(void)strncat(seen, name.ptr != NULL ? name.ptr : "", name.len);
	(void)strcat(seen, " ");
	if (slice_equal(name, SLICE("none")))
		return err_set(err, "there is no such image");
	if (!slice_equal(name, SLICE("alone")))
		*id = SLICE("ID");
	return 0;
}

static void
test_cases(void **state)
{
	static const struct {
		const char *in, *out, *seen;
	} cases[] = {
		{ "<img src=\"a/b.png\">x", "<img src=\"cid:ID\">x", "f:a/b.png " },
		{ "<IMG SRC = './a.png'/>", "<IMG SRC = 'cid:ID'/>", "f:a.png " },
		{ "<td background=\"cid:logo\">", "<td background=\"cid:ID\">", "c:logo " },
		{ "<img alt=\"x\" src=\"alone\">", "<img alt=\"x\" src=\"alone\">", "f:alone " },
		{ "<img src=\"https://x/a.png\"><img src='//x/a'><img src=\"/a\"><img src=\"#a\">"
		  "<img src=\"data:image/png;base64,AA\"><img src=\"\">",
		    NULL, "" },
		{ "<img src=\"{{url}}\"><img src=\"a/{{b}}.png\">", NULL, "" },
		{ "<img src=a.png>", NULL, "" },
		{ "<img src=\"a.png>", NULL, "" },
		{ "<img data-src=\"a.png\">src=\"b.png\"", NULL, "" },
		{ "<!-- <img src=\"a.png\"> --><p>", NULL, "" },
		{ "<img src=\"a.png\"><img src=\"b.png\">",
		    "<img src=\"cid:ID\"><img src=\"cid:ID\">", "f:a.png f:b.png " },
		{ "", NULL, "" },
		{ "<!--", NULL, "" },
		{ "<img src=", NULL, "" },
	};
	struct buf out;
	struct err err;

	(void)state;
	buf_init(&out, 10000);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		seen[0] = '\0';
		buf_reset(&out);
		assert_int_equal(
		    html_images_rename(&out, slice_str(cases[i].in), id_of, NULL, &err), 0);
		assert_string_equal(
		    buf_str(&out), cases[i].out != NULL ? cases[i].out : cases[i].in);
		assert_string_equal(seen, cases[i].seen);
	}
	assert_int_equal(
	    html_images_rename(&out, SLICE("<img src=\"none\">"), id_of, NULL, &err), -1);
	buf_release(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

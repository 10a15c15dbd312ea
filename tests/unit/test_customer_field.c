/* SPDX-License-Identifier: Apache-2.0 */
/* customer_field: the SQL of each place that a field may come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "customer_field.h"

#define COLUMNS "id\nemail\nname\norder\na.b\nattributes"

static void
gives(const char *columns, const char *field, bool json, const char *expected)
{
	struct buf sql;

	buf_init(&sql, 1000);
	customer_field_sql(&sql, columns, "cu", slice_str(field), json);
	assert_string_equal(buf_str(&sql), expected);
	buf_release(&sql);
}

static void
test_text(void **state)
{
	(void)state;
	gives(COLUMNS, "name", false, "cu.\"name\"::text");
	gives(COLUMNS, "a.b", false, "cu.\"a.b\"::text");
	gives(COLUMNS, "order.total", false, "to_jsonb(cu.\"order\") #>> ARRAY['total']");
	gives(COLUMNS, "plan", false, "cu.\"attributes\" #>> ARRAY['plan']");
	gives(COLUMNS, "shop.town", false, "cu.\"attributes\" #>> ARRAY['shop','town']");
	gives("id\nemail", "plan", false, "NULL::text");
	gives("id\nemail", "nam", false, "NULL::text");
}

static void
test_json(void **state)
{
	(void)state;
	gives(COLUMNS, "order", true, "(to_jsonb(cu.\"order\"))::text");
	gives(COLUMNS, "order.lines", true, "(to_jsonb(cu.\"order\") #> ARRAY['lines'])::text");
	gives(COLUMNS, "items", true, "(cu.\"attributes\" #> ARRAY['items'])::text");
	gives("id", "items", true, "(NULL)::text");
}

static void
test_quotes(void **state)
{
	(void)state;
	gives("a\"b", "a\"b", false, "cu.\"a\"\"b\"::text");
	gives("attributes", "a'b", false, "cu.\"attributes\" #>> ARRAY['a''b']");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_quotes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

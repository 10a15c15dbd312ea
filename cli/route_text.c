/* SPDX-License-Identifier: Apache-2.0 */
/* route_text: see route_text.h. */
#include "route_text.h"

#include <stdio.h>

#include "cli.h"

void
route_text_print(const char *label, const json_t *routes)
{
	size_t i;
	json_t *one;

	if (json_array_size(routes) == 0)
		return;
	fputs(label, stdout);
	json_array_foreach(routes, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "route"));
		char n[32];

		printf("%s%s %s", i > 0 ? ", " : "",
		    name != NULL && name[0] != '\0' ? name : "all others",
		    cli_number(json_integer_value(json_object_get(one, "recipients")), n));
	}
	putchar('\n');
}

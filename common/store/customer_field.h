/* SPDX-License-Identifier: Apache-2.0 */
/*
 * customer_field: where a field of a template comes from, as SQL: the column of that name; else,
 * when what stands before the first dot is a column, the path in it ({{order.total}} of a jsonb
 * column order); else the path in the column attributes. Pure.
 */
#ifndef KAIRAN_CUSTOMER_FIELD_H
#define KAIRAN_CUSTOMER_FIELD_H

#include <stdbool.h>

#include "buf.h"
#include "slice.h"

/* True when the newline-separated list of columns has the name. */
bool customer_has_column(const char *columns, struct slice name);

/*
 * Appends the expression for a field of the row `alias`: text, or the text of its JSON when json
 * is set; NULL when the row has no such field. A plain column costs what reading it costs.
 */
void customer_field_sql(
    struct buf *sql, const char *columns, const char *alias, struct slice field, bool json);

#endif

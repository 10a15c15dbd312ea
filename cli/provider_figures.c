/* SPDX-License-Identifier: Apache-2.0 */
/* provider_figures: see provider_figures.h. */
#include "provider_figures.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "csv.h"
#include "event.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define COUNT_MAX 1e15 /* exact in a double */

static const struct {
	const char *word;
	enum provider_column column;
} words[] = {
	{ "send", PROVIDER_SENDS },
	{ "sends", PROVIDER_SENDS },
	{ "sent", PROVIDER_SENDS },
	{ "deliveryattempts", PROVIDER_SENDS },
	{ "delivery", PROVIDER_DELIVERIES },
	{ "deliveries", PROVIDER_DELIVERIES },
	{ "bounce", PROVIDER_BOUNCES },
	{ "bounces", PROVIDER_BOUNCES },
	{ "complaint", PROVIDER_COMPLAINTS },
	{ "complaints", PROVIDER_COMPLAINTS },
	{ "reject", PROVIDER_REJECTS },
	{ "rejects", PROVIDER_REJECTS },
};

const char *
provider_column_name(enum provider_column column)
{
	static const char *const names[] = { "sends", "deliveries", "bounces", "complaints",
		"rejects" };

	return names[column];
}

/* -1: none of ours */
static int
column_of(struct slice name)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i].word) == name.len &&
		    strncasecmp(words[i].word, name.ptr, name.len) == 0)
			return (int)words[i].column;
	return -1;
}

/* ---- days ---- */

/* A time, or a date alone: its day, or -1. */
static int32_t
day_of(struct slice text)
{
	char copy[64];
	int64_t us;

	if (text.len == 0 || text.len > 40)
		return -1;
	(void)snprintf(copy, sizeof(copy), text.len == 10 ? "%.*sT00:00:00Z" : "%.*s",
	    (int)text.len, text.ptr);
	us = feedback_time_parse(slice_str(copy));
	return us <= 0 ? -1 : (int32_t)(us / DAY_US);
}

static int
add(struct provider_figures *f, struct slice when, enum provider_column column, double value,
    struct err *err)
{
	int32_t day = day_of(when);
	size_t i = f->count;

	if (day < 0)
		return err_set(err, "'%.*s' is no time like 2026-11-20T00:00:00Z", SLICE_ARG(when));
	if (!(value >= 0 && value <= COUNT_MAX) || value != floor(value))
		return err_set(err, "a count of %.*s is no whole number", SLICE_ARG(when));
	while (i > 0 && f->days[i - 1].day > day)
		i--;
	if (i == 0 || f->days[i - 1].day != day) {
		if (f->count == PROVIDER_DAYS_MAX)
			return err_set(err, "more than %d days", PROVIDER_DAYS_MAX);
		memmove(&f->days[i + 1], &f->days[i], (f->count - i) * sizeof(f->days[0]));
		f->days[i] = (struct provider_day){ .day = day };
		f->count++;
		i++;
	}
	if ((double)f->days[i - 1].counts[column] + value > COUNT_MAX)
		return err_set(err, "the counts of %.*s are too large", SLICE_ARG(when));
	f->days[i - 1].counts[column] += (int64_t)value;
	f->has[column] = true;
	return 0;
}

/* ---- JSON ---- */

static struct slice
text_of(const json_t *value)
{
	return slice_make(json_string_value(value), json_string_length(value));
}

static int
read_points(struct provider_figures *f, const json_t *points, struct err *err)
{
	const json_t *point, *value;
	const char *name;
	size_t i;

	json_array_foreach(points, i, point)
	{
		json_object_foreach((json_t *)(uintptr_t)point, name, value)
		{
			int column = column_of(slice_str(name));

			if (column >= 0 &&
			    (!json_is_number(value) ||
				add(f, text_of(json_object_get(point, "Timestamp")),
				    (enum provider_column)column, json_number_value(value),
				    err) < 0))
				return err->msg[0] != '\0' ? -1
							   : err_set(err, "%s is no number", name);
		}
	}
	return 0;
}

/* One metric of CloudWatch; others than ours are passed over. */
static int
read_metric(struct provider_figures *f, const json_t *metric, struct err *err)
{
	int column = column_of(text_of(json_object_get(metric, "Label")));
	const json_t *points = json_object_get(metric, "Datapoints"), *one;
	const json_t *times = json_object_get(metric, "Timestamps"),
		     *values = json_object_get(metric, "Values");
	size_t i;

	if (column < 0)
		return 0;
	f->has[column] = true;
	json_array_foreach(points, i, one)
	{
		if (!json_is_number(json_object_get(one, "Sum")))
			return err_set(err, "a data point has no Sum: ask for --statistics Sum");
		if (add(f, text_of(json_object_get(one, "Timestamp")), (enum provider_column)column,
			json_number_value(json_object_get(one, "Sum")), err) < 0)
			return -1;
	}
	if (json_array_size(times) != json_array_size(values))
		return err_set(err, "a metric has not as many values as times");
	json_array_foreach(times, i, one)
	{
		if (add(f, text_of(one), (enum provider_column)column,
			json_number_value(json_array_get(values, i)), err) < 0)
			return -1;
	}
	return 0;
}

static int
read_json(struct provider_figures *f, struct slice text, struct err *err)
{
	json_error_t why;
	json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &why), *one;
	const json_t *list = root;
	int result = 0;
	size_t i;

	if (root == NULL)
		return err_set(err, "no JSON: line %d: %s", why.line, why.text);
	if (json_is_array(json_object_get(root, "SendDataPoints"))) {
		result = read_points(f, json_object_get(root, "SendDataPoints"), err);
	} else if (json_object_get(root, "Datapoints") != NULL) {
		result = read_metric(f, root, err);
	} else {
		if (json_is_object(root))
			list = json_object_get(root, "MetricDataResults");
		if (!json_is_array(list))
			result = err_set(
			    err, "neither SendDataPoints, Datapoints nor MetricDataResults in it");
		json_array_foreach(list, i, one) if (result == 0) result = read_metric(f, one, err);
	}
	json_decref(root);
	return result;
}

/* ---- CSV ---- */

#define NO_COLUMN (-1)
#define TIME_COLUMN (-2)

static int
read_heading(const struct csv *c, int *columns, struct err *err)
{
	static const char *const times[] = { "date", "day", "time", "timestamp" };
	bool has_time = false, has_count = false;

	for (size_t i = 0; i < c->count; i++) {
		columns[i] = column_of(c->fields[i]);
		for (size_t k = 0; k < sizeof(times) / sizeof(times[0]) && !has_time; k++)
			if (strlen(times[k]) == c->fields[i].len &&
			    strncasecmp(times[k], c->fields[i].ptr, c->fields[i].len) == 0)
				columns[i] = TIME_COLUMN;
		has_time = has_time || columns[i] == TIME_COLUMN;
		has_count = has_count || columns[i] >= 0;
	}
	if (!has_time || !has_count)
		return err_set(err,
		    "the first line must name a column Date and at least one of Sends, Deliveries, "
		    "Bounces, Complaints, Rejects");
	return 0;
}

static int
read_record(struct provider_figures *f, const struct csv *c, const int *columns, size_t width,
    struct err *err)
{
	struct slice when = { NULL, 0 };

	if (c->count != width)
		return err_set(err, "%zu fields instead of %zu", c->count, width);
	for (size_t i = 0; i < width; i++)
		if (columns[i] == TIME_COLUMN)
			when = c->fields[i];
	for (size_t i = 0; i < width; i++) {
		char number[32], *end;
		double value;

		if (columns[i] < 0)
			continue;
		(void)snprintf(number, sizeof(number), "%.*s",
		    (int)(c->fields[i].len < 30 ? c->fields[i].len : 30), c->fields[i].ptr);
		value = strtod(number, &end);
		if (end == number || *end != '\0')
			return err_set(err, "'%s' is no number", number);
		if (add(f, when, (enum provider_column)columns[i], value, err) < 0)
			return -1;
	}
	return 0;
}

static int
read_csv(struct provider_figures *f, struct slice text, struct err *err)
{
	struct csv *c = calloc(1, sizeof(*c));
	int columns[CSV_FIELDS_MAX] = { 0 };
	size_t width = 0;
	int result = 0;
	enum csv_result got;
	struct err why = { 0 };

	if (c == NULL)
		return err_set(err, "no memory");
	csv_init(c, ',');
	while (result == 0 && (got = csv_next(c, &text, true)) != CSV_END) {
		if (got == CSV_MORE)
			continue;
		if (got != CSV_RECORD)
			result = err_set(&why, "%s", csv_reason(got));
		else if (width == 0)
			result = read_heading(c, columns, &why);
		else
			result = read_record(f, c, columns, width, &why);
		width = width == 0 ? c->count : width;
		if (result < 0)
			(void)err_set(
			    err, "line %llu: %.300s", (unsigned long long)c->line, why.msg);
	}
	csv_release(c);
	free(c);
	return result < 0 || width > 0 ? result : err_set(err, "it is empty");
}

int
provider_figures_read(struct provider_figures *f, struct slice text, struct err *err)
{
	size_t at = 0;
	int result;

	memset(f, 0, sizeof(*f));
	err->msg[0] = '\0';
	if (text.len > PROVIDER_FILE_MAX)
		return err_set(err, "larger than %zu MB", PROVIDER_FILE_MAX >> 20);
	while (at < text.len && strchr(" \t\r\n", text.ptr[at]) != NULL && text.ptr[at] != '\0')
		at++;
	if (at < text.len && (text.ptr[at] == '{' || text.ptr[at] == '['))
		result = read_json(f, text, err);
	else
		result = read_csv(f, text, err);
	for (char *p = err->msg; *p != '\0'; p++) /* it quotes the file */
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	return result;
}

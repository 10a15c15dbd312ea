/* SPDX-License-Identifier: Apache-2.0 */
/* suppress_import: see suppress_import.h. */
#include "suppress_import.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "suppress_batch.h"

#define READ_BYTES ((size_t)64 * 1024)
#define PUT_BYTES ((size_t)64 * 1024)

enum field { F_ADDRESS, F_REASON, F_SCOPE, F_NOTE, F_EXPIRES, F_CREATED, FIELDS };

/* Which field a header names, by our export or by Amazon SES; -1: none. */
static int
field_named(struct slice name)
{
	static const struct {
		const char *name;
		enum field field;
	} names[] = { { "address", F_ADDRESS }, { "email", F_ADDRESS },
		{ "emailaddress", F_ADDRESS }, { "email address", F_ADDRESS },
		{ "reason", F_REASON }, { "scope", F_SCOPE }, { "note", F_NOTE },
		{ "expires", F_EXPIRES }, { "expires_at", F_EXPIRES }, { "created_at", F_CREATED },
		{ "lastupdatetime", F_CREATED }, { "last update time", F_CREATED } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_equal_nocase(slice_trim(name), slice_str(names[i].name)))
			return (int)names[i].field;
	return -1;
}

struct layout {
	bool known;
	size_t columns;
	size_t field_at[FIELDS]; /* 1 + column; 0: none */
};

/* Looks at the first record. 1 when it was a header, 0 when it is data, -1 after printing. */
static int
find_layout(struct suppress_batch *b, const struct csv *csv, struct layout *l)
{
	l->known = true;
	l->columns = csv->count;
	for (size_t i = 0; i < csv->count; i++) {
		int f = field_named(csv->fields[i]);

		if (f >= 0 && l->field_at[f] == 0)
			l->field_at[f] = i + 1;
	}
	if (l->field_at[F_ADDRESS] != 0)
		return 1;
	if (csv->count == 1) {
		l->field_at[F_ADDRESS] = 1;
		return 0;
	}
	(void)cli_fail(b->cli, EXIT_USAGE,
	    "no column is named address in the first line; give one address per line, or a CSV "
	    "file "
	    "with the columns address, reason, scope, note, expires");
	return -1;
}

static struct slice
cell(const struct csv *csv, const struct layout *l, enum field f)
{
	size_t at = l->field_at[f];

	return at == 0 || at > csv->count ? (struct slice){ NULL, 0 }
					  : slice_trim(csv_unguard(csv->fields[at - 1]));
}

static int
take_record(struct suppress_batch *b, const struct csv *csv, struct layout *l)
{
	struct err err = { 0 };
	struct suppress_entry e;
	const char *why;

	if (!l->known) {
		int header = find_layout(b, csv, l);

		if (header != 0)
			return header < 0 ? EXIT_USAGE : EXIT_DONE;
	}
	e = (struct suppress_entry){ cell(csv, l, F_ADDRESS), cell(csv, l, F_REASON),
		cell(csv, l, F_SCOPE), cell(csv, l, F_NOTE), cell(csv, l, F_EXPIRES),
		cell(csv, l, F_CREATED) };
	if (e.address.len > 0 && e.address.ptr[0] == '#' && csv->count == 1)
		return EXIT_DONE;
	b->read++;
	why = csv->count != l->columns ? "number of columns differs from the first line"
				       : suppress_batch_add(b, csv->line, &e, &err);
	if (why != NULL)
		suppress_batch_refuse(b, csv->line, why);
	return suppress_batch_flush(b, PUT_BYTES);
}

static int
import_csv(struct suppress_batch *b, FILE *in)
{
	static const char failed[] = "cannot read the file: %s; nothing was added";
	struct layout layout = { 0 };
	struct csv *csv = malloc(sizeof(*csv));
	char *chunk = malloc(READ_BYTES);
	struct slice left = { NULL, 0 };
	bool at_end = false;
	int code = EXIT_DONE;

	if (csv != NULL)
		csv_init(csv, ',');
	if (csv == NULL || chunk == NULL)
		code = cli_fail(b->cli, EXIT_FAILED, "no memory");
	while (code == EXIT_DONE) {
		enum csv_result result = csv_next(csv, &left, at_end);

		if (result == CSV_END)
			break;
		if (result == CSV_RECORD) {
			code = take_record(b, csv, &layout);
		} else if (result != CSV_MORE) {
			b->read++;
			suppress_batch_refuse(b, csv->line, csv_reason(result));
		} else {
			size_t n = fread(chunk, 1, READ_BYTES, in);

			at_end = n == 0;
			left = slice_make(chunk, n);
			if (n == 0 && ferror(in))
				code = cli_fail(b->cli, EXIT_FAILED, failed, strerror(errno));
		}
	}
	if (csv != NULL)
		csv_release(csv);
	free(csv);
	free(chunk);
	return code;
}

static struct slice
json_slice(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return slice_make(json_string_value(value), json_string_length(value));
}

static int
take_json(struct suppress_batch *b, const json_t *object, uint64_t number)
{
	struct suppress_entry e = { .address = json_slice(object, "EmailAddress"),
		.reason = json_slice(object, "Reason"),
		.created = json_slice(object, "LastUpdateTime") };
	struct err err = { 0 };
	const char *why;

	if (e.address.len == 0)
		e = (struct suppress_entry){ json_slice(object, "address"),
			json_slice(object, "reason"), json_slice(object, "scope"),
			json_slice(object, "note"), json_slice(object, "expires_at"),
			json_slice(object, "created_at") };
	b->read++;
	why = suppress_batch_add(b, number, &e, &err);
	if (why != NULL)
		suppress_batch_refuse(b, number, why);
	return suppress_batch_flush(b, PUT_BYTES);
}

/* One object after another, arrays of them, or what `aws sesv2 list-suppressed-destinations`
 * prints. */
static int
import_json(struct suppress_batch *b, FILE *in)
{
	int code = EXIT_DONE;
	uint64_t number = 0;
	int c;

	while (code == EXIT_DONE) {
		json_error_t error;
		json_t *value, *list, *item;
		size_t i;

		while ((c = getc(in)) != EOF && (isspace(c) || c == ','))
			;
		if (c == EOF)
			break;
		(void)ungetc(c, in);
		value = json_loadf(in, JSON_DISABLE_EOF_CHECK, &error);
		if (value == NULL)
			return cli_fail(b->cli, EXIT_FAILED,
			    "object %" PRIu64 " of the file is no JSON: %s; nothing was added",
			    number + 1, error.text);
		list = json_is_array(value)
		    ? value
		    : json_object_get(value, "SuppressedDestinationSummaries");
		if (list == NULL)
			code = take_json(b, value, ++number);
		json_array_foreach(list, i, item) if (code == EXIT_DONE) code =
		    take_json(b, item, ++number);
		json_decref(value);
	}
	return code;
}

static int
import_file(struct suppress_batch *b, FILE *in, const char *path)
{
	int c, code = suppress_batch_begin(b);

	if (code == EXIT_DONE) {
		while ((c = getc(in)) == ' ' || c == '\n' || c == '\r' || c == '\t')
			;
		if (c != EOF)
			(void)ungetc(c, in);
		code = c == '{' || c == '[' ? import_json(b, in) : import_csv(b, in);
	}
	if (code != EXIT_DONE) {
		buf_release(&b->out);
		return code;
	}
	code = suppress_batch_end(b, "suppress.import", path);
	if (code != EXIT_DONE)
		return code;
	if (b->rejected > SUPPRESS_REJECTS_SHOWN)
		fprintf(stderr, "… and %" PRId64 " more\n", b->rejected - SUPPRESS_REJECTS_SHOWN);
	suppress_batch_print(b);
	if (b->read == 0)
		return EXIT_NOTHING;
	return b->rejected == b->read ? EXIT_FAILED : EXIT_DONE;
}

int
suppress_import(struct cli *cli, int argc, char **argv)
{
	struct suppress_batch b;
	struct db db;
	FILE *in;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE,
		    "name one file, or - for standard input: kairan suppress import FILE");
	in = strcmp(argv[0], "-") == 0 ? stdin : fopen(argv[0], "re");
	if (in == NULL)
		return cli_fail(cli, EXIT_FAILED, "cannot open %s: %s", argv[0], strerror(errno));
	code = cli_open_db(cli, &db);
	if (code == EXIT_DONE) {
		b = (struct suppress_batch){ .cli = cli, .db = &db, .source = "import" };
		code = import_file(&b, in, argv[0]);
		db_close(&db);
	}
	if (in != stdin)
		fclose(in);
	return code;
}

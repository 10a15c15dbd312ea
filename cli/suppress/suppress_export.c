/* SPDX-License-Identifier: Apache-2.0 */
/* suppress_export: see suppress_export.h. */
#include "suppress_export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A spreadsheet runs what begins with = + - @; an apostrophe in front keeps it text, and
 * csv_unguard() takes it away again. */
static const char export_sql[] =
    "COPY (SELECT regexp_replace(address_key, '^(''*[=+@\\t\\r-])', '''\\1') AS address, reason, "
    "scope, "
    "regexp_replace(source, '^(''*[=+@\\t\\r-])', '''\\1') AS source, "
    "regexp_replace(evidence, '^(''*[=+@\\t\\r-])', '''\\1') AS note, "
    "to_char(created_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS created_at, "
    "to_char(coalesce(rest_until, expires_at), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS expires_at "
    "FROM kairan.suppression ORDER BY address_key, scope, reason) TO STDOUT (FORMAT csv, HEADER)";

static int
export_rows(struct cli *cli, struct db *db, FILE *out, int64_t *rows)
{
	PGresult *result;
	char *row = NULL;
	int n;

	*rows = -1; /* the header */
	if (db_run(db, "SET timezone = 'UTC'", 0, NULL) < 0 || db_run(db, export_sql, 0, NULL) < 0)
		return cli_db_failed(cli, db, "reading the suppression list");
	while ((n = PQgetCopyData(db->conn, &row, 0)) > 0) {
		(void)fwrite(row, 1, (size_t)n, out);
		PQfreemem(row);
		++*rows;
	}
	while ((result = PQgetResult(db->conn)) != NULL) {
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			n = -2;
		PQclear(result);
	}
	if (n == -2)
		return cli_fail(cli, EXIT_TEMPORARY, "PostgreSQL stopped in the middle; try again");
	return EXIT_DONE;
}

static int
export_to(struct cli *cli, struct db *db, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	char number[32];
	int64_t rows;
	int code;

	if (out == NULL)
		return cli_fail(cli, EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
	code = export_rows(cli, db, out, &rows);
	if (ferror(out) | fclose(out))
		return cli_fail(cli, EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
	if (code != EXIT_DONE)
		return code;
	cli_audit(db, "suppress.export", path, "");
	if (cli->json)
		cli_print_json(json_pack("{s:I, s:s}", "exported", (json_int_t)rows, "file", path));
	else
		printf("%s entries written to %s\n", cli_number(rows, number), path);
	return EXIT_DONE;
}

int
suppress_export(struct cli *cli, int argc, char **argv)
{
	struct db db;
	int64_t rows;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 1)
		return cli_fail(
		    cli, EXIT_USAGE, "name at most one file: kairan suppress export FILE.csv");
	if (cli->json && argc == 0)
		return cli_print_rows(cli,
		    "SELECT address_key AS address, reason, scope, source, evidence AS note, "
		    "created_at, "
		    "coalesce(rest_until, expires_at) AS expires_at FROM kairan.suppression ORDER "
		    "BY "
		    "address_key, scope, reason",
		    0, NULL, "reading the suppression list");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	if (argc == 1 && strcmp(argv[0], "-") != 0) {
		code = export_to(cli, &db, argv[0]);
	} else {
		code = export_rows(cli, &db, stdout, &rows);
		if (code == EXIT_DONE)
			cli_audit(&db, "suppress.export", "standard output", "");
	}
	db_close(&db);
	return code;
}

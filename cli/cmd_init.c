/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_init: `kairan init`: schema, roles, feedback months, key file. Safe to run again and by
 * two at once. */
#include "cli.h"

#include <string.h>

#include "migrate.h"
#include "schema.h"

struct told {
	const struct cli *cli;
	const struct db *db;
	json_t *passwords; /* owned; with --json */
};

static void
tell_password(void *ctx, const char *role, const char *password)
{
	struct told *told = ctx;
	const char *host = PQhost(told->db->conn), *port = PQport(told->db->conn);

	if (told->passwords != NULL)
		(void)json_object_set_new(told->passwords, role, json_string(password));
	else
		printf("%s:%s:%s:%s:%s\n", host != NULL ? host : "localhost",
		    port != NULL && port[0] != '\0' ? port : "5432", PQdb(told->db->conn), role,
		    password);
}

static void
print_key(const char *path, enum migrate_key what)
{
	if (what == MIGRATE_KEY_MADE)
		printf("made the key file %s: keep a copy, give it to every host, own it by the "
		       "programs' user\n",
		    path);
	else if (what == MIGRATE_KEY_NO_FOLDER)
		printf("no key file: the folder of %s is missing or cannot be written; make it, or "
		       "set keys.file, and run kairan init again\n",
		    path);
}

static void
print_text(const struct migrate_report *r, const char *key_path, enum migrate_key what)
{
	if (r->applied_count == 0)
		printf("nothing to do, schema is version %d\n", r->after);
	else if (r->before == 0)
		printf("made the schema, version %d\n", r->after);
	else
		printf("upgraded the schema from version %d to %d\n", r->before, r->after);
	print_key(key_path, what);
}

static json_t *
report_json(const struct migrate_report *r, const char *key_path, enum migrate_key what)
{
	static const char *const words[] = { "made", "there", "no_folder" };
	json_t *applied = json_array();

	for (int i = 0; i < r->applied_count; i++)
		(void)json_array_append_new(applied, json_integer(r->applied[i]));
	return json_pack("{s:i, s:i, s:o, s:s, s:s}", "before", r->before, "version", r->after,
	    "applied", applied, "key_file", key_path, "key", words[what]);
}

static int
init_database(struct cli *cli, struct db *db, bool passwords)
{
	struct migrate_report report;
	struct told told = { .cli = cli, .db = db };
	enum migrate_key what = MIGRATE_KEY_THERE;
	struct err err = { 0 };
	json_t *out;

	if (migrate_apply(db, &report, &err) < 0 || migrate_open_months(db, &err) < 0)
		return cli_fail(cli, db_is_lost(db) ? EXIT_TEMPORARY : EXIT_FAILED, "%s", err.msg);
	if (report.applied_count > 0) {
		char detail[64];

		(void)snprintf(
		    detail, sizeof(detail), "version %d to %d", report.before, report.after);
		cli_audit(db, "init", "schema", detail);
	}
	if (migrate_key_file(cli->config.keys_file, &what, &err) < 0)
		return cli_fail(cli, EXIT_FAILED, "%s (the schema is done)", err.msg);
	if (!cli->json)
		print_text(&report, cli->config.keys_file, what);
	else if (passwords)
		told.passwords = json_object();
	if (passwords && migrate_role_passwords(db, tell_password, &told, &err) < 0) {
		json_decref(told.passwords);
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	}
	if (!cli->json)
		return EXIT_DONE;
	out = report_json(&report, cli->config.keys_file, what);
	if (told.passwords != NULL)
		(void)json_object_set_new(out, "passwords", told.passwords);
	cli_print_json(out);
	return EXIT_DONE;
}

static int
run_init(struct cli *cli, int argc, char **argv)
{
	const char *passwords = "no";
	const struct cli_option options[] = {
		{ .name = "role-passwords", .value_name = "yes|no", .value = &passwords }, { 0 }
	};
	struct db db;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE,
		    "init takes no argument; the database is database.url of the configuration");
	if (strcmp(passwords, "yes") != 0 && strcmp(passwords, "no") != 0)
		return cli_fail(
		    cli, EXIT_USAGE, "--role-passwords takes yes or no, not '%s'", passwords);
	code = cli_open_owner(cli, &db);
	if (code != EXIT_DONE)
		return code;
	code = init_database(cli, &db, strcmp(passwords, "yes") == 0);
	db_close(&db);
	return code;
}

const struct cli_command cli_init_commands[] = {
	{ "init", "[--role-passwords yes|no]",
	    "create or upgrade the schema, the roles and the key file",
	    "Connects to database.url (KAIRAN_DATABASE_URL); without a user in it, as the user of "
	    "the\n"
	    "system. That user becomes the owner. Running it again does no harm.\n"
	    "\n"
	    "Options:\n"
	    "  --role-passwords yes|no   give the roles of the programs that have no password a\n"
	    "                            random one and print them as lines for ~/.pgpass "
	    "(default\n"
	    "                            no: set them yourself, or use peer authentication)\n"
	    "\n"
	    "Example:\n"
	    "  createdb shop && KAIRAN_DATABASE_URL=postgresql:///shop kairan init\n",
	    true, run_init },
	{ 0 },
};

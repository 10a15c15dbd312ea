/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate: see migrate.h. Owns the table kairan.migration. Statements of a file go to the
 * server as one text (simple protocol), since a file holds many.
 */
#include "migrate.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "embed.h"
#include "secret.h"
#include "token.h"

#define LOCK_KEY "7308047352118423393" /* any number that nobody else uses */
#define DIGEST_CHARS 64
#define PASSWORD_BYTES 24

static const char bootstrap[] =
    "DO $$ BEGIN\n"
    "IF to_regclass('kairan.migration') IS NULL THEN\n"
    "	IF to_regnamespace('kairan') IS NULL THEN\n"
    "		CREATE SCHEMA IF NOT EXISTS kairan;\n"
    "	END IF;\n"
    "	COMMENT ON SCHEMA kairan IS 'Kairan: campaigns, what became of each recipient, "
    "suppression';\n"
    "	CREATE TABLE kairan.migration (version int PRIMARY KEY, name text NOT NULL,\n"
    "	    digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());\n"
    "	COMMENT ON TABLE kairan.migration IS 'Files of schema/ that made this schema; the highest "
    "version counts';\n"
    "	COMMENT ON COLUMN kairan.migration.version IS 'Number in front of the name of the file';\n"
    "	COMMENT ON COLUMN kairan.migration.name IS 'Name of the file';\n"
    "	COMMENT ON COLUMN kairan.migration.digest IS 'SHA-256 of the file as it was applied';\n"
    "	COMMENT ON COLUMN kairan.migration.applied_at IS 'When it was applied';\n"
    "END IF; END $$";

/* The number of schema/NNN_name.sql; 0 for other embedded files. */
static int
file_version(const struct embed_file *f)
{
	const char *name = f->name;
	int version = 0;

	if (strncmp(name, "schema/", 7) != 0)
		return 0;
	for (int i = 7; i < 10; i++) {
		if (name[i] < '0' || name[i] > '9')
			return 0;
		version = version * 10 + (name[i] - '0');
	}
	return name[10] == '_' ? version : 0;
}

static const struct embed_file *
find_file(int version)
{
	for (const struct embed_file *f = embed_files; f->name != NULL; f++)
		if (file_version(f) == version)
			return f;
	return NULL;
}

static int
newest_version(void)
{
	int newest = 0;

	for (const struct embed_file *f = embed_files; f->name != NULL; f++)
		if (file_version(f) > newest)
			newest = file_version(f);
	return newest;
}

static void
hex(const unsigned char *bytes, size_t n, char *dst)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[bytes[i] >> 4];
		dst[2 * i + 1] = digits[bytes[i] & 15];
	}
	dst[2 * n] = '\0';
}

static int
digest_file(const struct embed_file *f, char dst[DIGEST_CHARS + 1], struct err *err)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (EVP_Digest(f->text, strlen(f->text), md, &n, EVP_sha256(), NULL) != 1)
		return err_set(err, "cannot compute a digest; is OpenSSL complete?");
	hex(md, DIGEST_CHARS / 2, dst);
	return 0;
}

/* Many statements in one text. */
static int
run_text(struct db *db, const char *text, struct err *err, const char *name)
{
	PGresult *result = PQexec(db->conn, text);
	ExecStatusType status = PQresultStatus(result);
	const char *why, *state;
	char line[300];
	size_t n = 0;

	/* empty: a file of comments */
	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ||
	    status == PGRES_EMPTY_QUERY) {
		PQclear(result);
		return 0;
	}
	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	(void)snprintf(db->sqlstate, sizeof(db->sqlstate), "%.5s", state != NULL ? state : "");
	why = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	for (why = why != NULL ? why : PQerrorMessage(db->conn); *why != '\0'; why++)
		if (n + 1 < sizeof(line))
			line[n++] = *why == '\n' ? ' ' : *why;
	line[n] = '\0';
	PQclear(result);
	return err_set(err, "%s: %s", name, line);
}

static int
explain_bootstrap(const struct db *db, struct err *err)
{
	char why[sizeof(err->msg)];

	if (strcmp(db->sqlstate, "42501") != 0)
		return -1;
	(void)snprintf(why, sizeof(why), "%.200s", err->msg);
	return err_set(err,
	    "%s; run kairan init as the owner of the database, who may "
	    "create roles (CREATEROLE), or as a superuser",
	    why);
}

/* What was applied must be what this program holds. Sets report->before/after. */
static int
check_applied(struct db *db, int newest, int *version, struct err *err)
{
	PGresult *result = db_query(
	    db, "SELECT version, name, digest FROM kairan.migration ORDER BY version", 0, NULL);
	char digest[DIGEST_CHARS + 1];
	int status = 0;

	if (result == NULL)
		return err_set(err, "cannot read kairan.migration: %s", db->error);
	*version = 0;
	for (int i = 0; status == 0 && i < PQntuples(result); i++) {
		const struct embed_file *f;

		*version = (int)db_number(result, i, 0);
		f = find_file(*version);
		if (*version > newest)
			status = err_set(err,
			    "the schema is version %lld, newer than this program (version %d); "
			    "install the newer kairan, or use another database",
			    (long long)db_number(result, PQntuples(result) - 1, 0), newest);
		else if (f == NULL)
			status = err_set(err,
			    "the database has %s applied, which this program does not know; "
			    "install the kairan that made it",
			    db_text(result, i, 1));
		else if (digest_file(f, digest, err) < 0)
			status = -1;
		else if (strcmp(digest, db_text(result, i, 2)) != 0)
			status = err_set(err,
			    "%s was applied with another content than this program holds; use the "
			    "released kairan of that database (developers: make a new database)",
			    f->name);
	}
	PQclear(result);
	return status;
}

static int
note_applied(struct db *db, const struct embed_file *f, int version, struct err *err)
{
	char digest[DIGEST_CHARS + 1], number[12];
	const char *params[] = { number, f->name, digest };

	if (digest_file(f, digest, err) < 0)
		return -1;
	(void)snprintf(number, sizeof(number), "%d", version);
	if (db_run(db, "INSERT INTO kairan.migration (version, name, digest) VALUES ($1, $2, $3)",
		3, params) < 0)
		return err_set(err, "cannot note %s in kairan.migration: %s", f->name, db->error);
	return 0;
}

/* One transaction: lock, look, apply the next file. Returns 1 when one was applied, 0 when
 * nothing is left, -1 with err. */
static int
apply_next(struct db *db, int newest, struct migrate_report *report, bool first, struct err *err)
{
	const struct embed_file *f = NULL;
	int version = 0;

	if (run_text(db, "BEGIN; SELECT pg_advisory_xact_lock(" LOCK_KEY ")", err,
		"cannot lock the schema") < 0)
		return -1;
	if (run_text(db, bootstrap, err, "cannot make the schema kairan") < 0)
		return explain_bootstrap(db, err);
	if (check_applied(db, newest, &version, err) < 0)
		return -1;
	if (first)
		report->before = version;
	report->after = version;
	for (int v = version + 1; f == NULL && v <= newest; v++) {
		f = find_file(v);
		version = v;
	}
	if (f != NULL) {
		if (run_text(db, "SET LOCAL search_path = kairan, pg_temp", err, f->name) < 0 ||
		    run_text(db, f->text, err, f->name) < 0)
			return explain_bootstrap(db, err);
		if (note_applied(db, f, version, err) < 0)
			return -1;
	}
	if (run_text(db, "COMMIT", err, f != NULL ? f->name : "cannot commit") < 0)
		return -1;
	if (f == NULL)
		return 0;
	report->after = report->applied[report->applied_count++] = version;
	return 1;
}

int
migrate_apply(struct db *db, struct migrate_report *report, struct err *err)
{
	int newest = newest_version(), status;
	bool first = true;

	*report = (struct migrate_report){ 0 };
	do {
		status = apply_next(db, newest, report, first, err);
		first = false;
	} while (status > 0);
	if (status < 0) {
		struct err ignored;

		(void)run_text(db, "ROLLBACK", &ignored, "");
	}
	return status;
}

int
migrate_open_months(struct db *db, struct err *err)
{
	static const char open_both[] =
	    "SELECT kairan.feedback_month_open((now() AT TIME ZONE 'UTC')::date), "
	    "kairan.feedback_month_open(((now() AT TIME ZONE 'UTC') + interval '1 month')::date)";
	struct err ignored;

	if (run_text(db, "BEGIN; SELECT pg_advisory_xact_lock(" LOCK_KEY ")", err,
		"cannot lock the schema") == 0 &&
	    run_text(db, open_both, err, "cannot open the feedback months") == 0 &&
	    run_text(db, "COMMIT", err, "cannot open the feedback months") == 0)
		return 0;
	(void)run_text(db, "ROLLBACK", &ignored, "");
	return -1;
}

/* ---------------------------------------------------------------- roles */

static int
set_password(
    struct db *db, const char *role, char password[2 * PASSWORD_BYTES + 1], struct err *err)
{
	unsigned char random[PASSWORD_BYTES];
	char *verifier, *quoted = NULL, sql[600];
	int status = -1;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return err_set(err, "no random numbers from OpenSSL");
	hex(random, sizeof(random), password);
	/* Only the verifier goes over the wire and into the server's log. */
	verifier = PQencryptPasswordConn(db->conn, password, role, "scram-sha-256");
	if (verifier != NULL)
		quoted = PQescapeLiteral(db->conn, verifier, strlen(verifier));
	if (quoted == NULL) {
		(void)err_set(err, "no memory");
		goto out;
	}
	(void)snprintf(sql, sizeof(sql), "ALTER ROLE %s PASSWORD %s", role, quoted);
	if (db_run(db, sql, 0, NULL) < 0)
		(void)err_set(err, "cannot set the password of %s: %s", role, db->error);
	else
		status = 0;
out:
	PQfreemem(quoted);
	PQfreemem(verifier);
	OPENSSL_cleanse(random, sizeof(random));
	return status;
}

int
migrate_role_passwords(struct db *db,
    void (*tell)(void *ctx, const char *role, const char *password), void *ctx, struct err *err)
{
	PGresult *result = db_query(db,
	    "SELECT rolname FROM pg_authid WHERE rolpassword IS NULL AND rolname = ANY "
	    "(ARRAY['kairan_producer', 'kairan_dispatcher', 'kairan_feedback', 'kairan_operator', "
	    "'kairan_monitor']) ORDER BY 1",
	    0, NULL);
	int status = 0;

	if (result == NULL)
		return err_set(err,
		    "cannot see which roles have passwords: %s; run as a superuser, or set them "
		    "with \\password in psql",
		    db->error);
	for (int i = 0; status == 0 && i < PQntuples(result); i++) {
		char password[2 * PASSWORD_BYTES + 1];

		status = set_password(db, db_text(result, i, 0), password, err);
		if (status == 0)
			tell(ctx, db_text(result, i, 0), password);
		OPENSSL_cleanse(password, sizeof(password));
	}
	PQclear(result);
	return status;
}

/* ---------------------------------------------------------------- key file */

/* The folder of path ("." when there is none) into dst. */
static int
folder_of(const char *path, char *dst, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash != NULL ? (size_t)(slash - path) : 0;

	if (n >= size)
		return -1;
	if (slash == NULL)
		dst[n++] = '.';
	else if (n == 0)
		dst[n++] = '/';
	else
		memcpy(dst, path, n);
	dst[n] = '\0';
	return 0;
}

static int
make_key(const char *path, struct err *err)
{
	struct token_keys keys = { 0 };
	char text[TOKEN_FILE_MAX];
	size_t n;
	int status;

	if (token_keys_add(&keys, 0, err) < 0)
		return -1;
	n = token_keys_print(&keys, text);
	status = secret_create("key file", path, slice_make(text, n), err);
	token_keys_release(&keys);
	OPENSSL_cleanse(text, sizeof(text));
	return status;
}

int
migrate_key_file(const char *path, enum migrate_key *what, struct err *err)
{
	char folder[4096];
	struct token_keys keys;
	int status;

	if (access(path, F_OK) == 0) {
		*what = MIGRATE_KEY_THERE;
		if (access(path, R_OK) < 0) /* it belongs to the programs' user */
			return 0;
		status = token_keys_load(&keys, path, err);
		token_keys_release(&keys);
		return status;
	}
	*what = MIGRATE_KEY_NO_FOLDER;
	if (folder_of(path, folder, sizeof(folder)) < 0 || access(folder, W_OK | X_OK) < 0)
		return 0;
	*what = MIGRATE_KEY_MADE;
	status = make_key(path, err);
	if (status < 0 && errno == EEXIST) {
		*what = MIGRATE_KEY_THERE;
		return 0;
	}
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_host: see doctor_host.h. Changes nothing; what cannot be looked at is skipped, and says so. */
#include "doctor_host.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aws_call.h"
#include "aws_chain.h"
#include "aws_endpoint.h"
#include "db.h"

#define ENTRIES_MAX 1000 /* of one folder */

/* ---------------------------------------------------------------- clock */

void
doctor_judge_clock(struct doctor_checks *d, const char *other, double ahead_s)
{
	double off = fabs(ahead_s);
	const char *way = ahead_s > 0 ? "ahead of" : "behind";

	if (off > DOCTOR_CLOCK_FAILED_S)
		(void)doctor_add(d, "clock", DOCTOR_FAILED, other,
		    "let NTP set the clock: timedatectl set-ntp true, or systemctl status "
		    "systemd-timesyncd chrony",
		    "the clock of this host is %.0f s %s it; AWS refuses signatures that are more "
		    "than %d s off, receivers doubt DKIM signatures and dates of the future",
		    off, way, DOCTOR_CLOCK_FAILED_S);
	else if (off > DOCTOR_CLOCK_WARNING_S)
		(void)doctor_add(d, "clock", DOCTOR_WARNING, other,
		    "let NTP set both clocks: timedatectl set-ntp true",
		    "the clock of this host is %.0f s %s it; receivers may doubt DKIM signatures "
		    "of the future",
		    off, way);
	else
		(void)doctor_add(d, "clock", DOCTOR_OK, other, "", "the clocks agree within %d s",
		    DOCTOR_CLOCK_WARNING_S);
}

static double
now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
check_postgres(struct doctor_checks *d, const struct config *config)
{
	struct err err = { 0 };
	PGresult *r = NULL;
	struct db db;
	double before;

	if (db_open(&db, config->database_url, "kairan_operator", "kairan", &err) < 0) {
		(void)doctor_add(d, "clock", DOCTOR_SKIPPED, "PostgreSQL", "look at database.url",
		    "cannot be asked: %s", err.msg);
		return;
	}
	before = now_s();
	r = db_query(&db, "SELECT extract(epoch FROM clock_timestamp())", 0, NULL);
	if (r == NULL)
		(void)doctor_add(
		    d, "clock", DOCTOR_SKIPPED, "PostgreSQL", "", "cannot be asked: %s", db.error);
	else
		doctor_judge_clock(
		    d, "PostgreSQL", (before + now_s()) / 2 - strtod(db_text(r, 0, 0), NULL));
	PQclear(r);
	db_close(&db);
}

/* The Date of whatever the endpoint answers, in seconds; -1 with err. */
static double
their_date(const struct aws_endpoint *endpoint, const struct config *config, struct err *err)
{
	const char *ca = aws_ca_file(config->ses_ca_file);
	struct curl_header *date = NULL;
	CURL *curl = curl_easy_init();
	CURLcode code;
	double at = -1;

	if (curl == NULL)
		return err_set(err, "no memory");
	(void)curl_easy_setopt(curl, CURLOPT_URL, endpoint->origin);
	(void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, endpoint->is_tls ? "https" : "http");
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, config->ses_connect_timeout_s);
	if (ca != NULL)
		(void)curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
	code = curl_easy_perform(curl);
	if (code != CURLE_OK)
		(void)err_set(err, "%s", curl_easy_strerror(code));
	else if (curl_easy_header(curl, "Date", 0, CURLH_HEADER, -1, &date) != CURLHE_OK)
		(void)err_set(err, "its answer has no Date");
	else if ((at = (double)curl_getdate(date->value, NULL)) < 0)
		(void)err_set(err, "its Date is no date");
	curl_easy_cleanup(curl);
	return at;
}

static void
check_ses(struct doctor_checks *d, const struct config *config)
{
	struct aws_endpoint endpoint;
	struct err err = { 0 };
	char region[64];
	double before, at;

	aws_chain_region(config->ses_region, region);
	if (aws_endpoint_make(&endpoint, AWS_SESV2, config->ses_endpoint, region, &err) < 0) {
		(void)doctor_add(d, "clock", DOCTOR_SKIPPED, "Amazon SES", "", "%s", err.msg);
		return;
	}
	before = now_s();
	at = their_date(&endpoint, config, &err);
	if (at < 0)
		(void)doctor_add(d, "clock", DOCTOR_SKIPPED, endpoint.host,
		    "look at ses.endpoint and ses.region", "cannot be asked: %s", err.msg);
	else /* it tells whole seconds, cut off */
		doctor_judge_clock(d, endpoint.host, (before + now_s()) / 2 - at - 0.5);
}

void
doctor_check_clocks(struct doctor_checks *d, const struct config *config)
{
	check_postgres(d, config);
	if (strcmp(config->dispatcher_transport, "ses") == 0)
		check_ses(d, config);
}

/* ---------------------------------------------------------------- files */

bool
doctor_judge_file(struct doctor_checks *d, const char *path, enum doctor_file kind,
    const struct stat *st, uid_t me)
{
	mode_t others = st->st_mode & 0777;
	char advice[700];

	if (kind == DOCTOR_FILE_SECRET && (others & 077) != 0) {
		(void)snprintf(advice, sizeof(advice), "chmod 600 %s", path);
		(void)doctor_add(d, "file", DOCTOR_FAILED, path, advice,
		    "it holds a secret and its mode is %03o: %s can %s it", (unsigned)others,
		    (others & 07) != 0 ? "everybody on this host" : "its group",
		    (others & 022) != 0 ? "change" : "read");
		return false;
	}
	if ((others & 022) != 0 && (st->st_mode & S_ISVTX) == 0) {
		(void)snprintf(advice, sizeof(advice), "chmod go-w %s", path);
		(void)doctor_add(d, "file", DOCTOR_FAILED, path, advice,
		    "its mode is %03o: %s can change %s", (unsigned)others,
		    (others & 02) != 0 ? "everybody on this host" : "its group",
		    kind == DOCTOR_FILE_FOLDER ? "which files are in it" : "it");
		return false;
	}
	if (st->st_uid != 0 && st->st_uid != me) {
		(void)snprintf(
		    advice, sizeof(advice), "chown root %s, or run the doctor as its owner", path);
		(void)doctor_add(d, "file", DOCTOR_WARNING, path, advice,
		    "it belongs to user %u, who can change it, not to root or to this user (%u)",
		    (unsigned)st->st_uid, (unsigned)me);
		return false;
	}
	return true;
}

struct look {
	struct doctor_checks *d;
	size_t good, wrong;
};

static void
look_at(struct look *l, const char *path, enum doctor_file kind)
{
	struct stat st;

	if (path == NULL || path[0] == '\0')
		return;
	if (stat(path, &st) == 0)
		*(doctor_judge_file(l->d, path, kind, &st, getuid()) ? &l->good : &l->wrong) += 1;
	else if (errno != ENOENT) /* what is missing is told by whoever needs it */
		(void)doctor_add(l->d, "file", DOCTOR_SKIPPED, path,
		    "run the doctor as root, or as the user of the programs",
		    "it cannot be looked at: %s", strerror(errno));
}

static bool
is_key(const char *name)
{
	static const char *const endings[] = { ".pem", ".new", ".old" };
	size_t n = strlen(name);

	for (size_t i = 0; i < 3; i++)
		if (n > 4 && strcmp(name + n - 4, endings[i]) == 0)
			return true;
	return false;
}

/* The folder, and the keys (depth 1), or folders of them (depth 2), in it. */
static void
look_into(struct look *l, const char *folder, int depth)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;
	char path[600];

	if (dir == NULL && errno == ENOENT)
		return;
	look_at(l, folder, DOCTOR_FILE_FOLDER);
	for (int i = 0; dir != NULL && i < ENTRIES_MAX && (e = readdir(dir)) != NULL; i++) {
		if (e->d_name[0] == '.' ||
		    snprintf(path, sizeof(path), "%s/%s", folder, e->d_name) >= (int)sizeof(path))
			continue;
		if (depth > 1)
			look_into(l, path, depth - 1);
		else if (is_key(e->d_name))
			look_at(l, path, DOCTOR_FILE_SECRET);
	}
	if (dir != NULL)
		closedir(dir);
}

void
doctor_check_files(struct doctor_checks *d, const struct config *config, const char *config_path)
{
	struct look l = { .d = d };
	const char *const secrets[] = { config->keys_file, config->relay_tls_key_file,
		config->relay_auth_file, config->mailbox_password_file,
		getenv("AWS_SHARED_CREDENTIALS_FILE") };

	if (config_path == NULL)
		config_path = getenv("KAIRAN_CONFIG");
	look_at(&l, config_path != NULL ? config_path : CONFIG_DEFAULT_FILE, DOCTOR_FILE_OPEN);
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		look_at(&l, secrets[i], DOCTOR_FILE_SECRET);
	look_at(&l, config->dispatcher_state_dir, DOCTOR_FILE_FOLDER);
	look_into(&l, config->dkim_dir, 2);
	if (l.wrong == 0 && l.good > 0)
		(void)doctor_add(d, "file", DOCTOR_OK, "configuration and secrets", "",
		    "%zu files and folders: nobody else can change them, or read what is secret",
		    l.good);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hook: see hook.h. The command line is split at blanks; quotes keep blanks together. */
#include "hook.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "log.h"

#define WORDS_MAX 32

extern char **environ;

/* Splits in place. Returns the number of words, or -1 (open quote, too many). */
static int
split_words(char *text, char *words[WORDS_MAX + 1])
{
	int count = 0;
	char *to;

	while (*text != '\0') {
		char quote = '\0';

		while (*text == ' ' || *text == '\t')
			text++;
		if (*text == '\0')
			break;
		if (count == WORDS_MAX)
			return -1;
		words[count++] = to = text;
		for (; *text != '\0' && (quote != '\0' || (*text != ' ' && *text != '\t'));
		     text++) {
			if (quote == '\0' && (*text == '"' || *text == '\''))
				quote = *text;
			else if (quote != '\0' && *text == quote)
				quote = '\0';
			else
				*to++ = *text;
		}
		if (quote != '\0')
			return -1;
		if (*text != '\0')
			text++;
		*to = '\0';
	}
	words[count] = NULL;
	return count;
}

static bool
is_private(const char *variable)
{
	static const char *const prefixes[] = { "KAIRAN_", "AWS_", "PG" };

	if (strncmp(variable, "KAIRAN_CONFIG=", strlen("KAIRAN_CONFIG=")) == 0)
		return false;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* Our environment without our settings and credentials. The array is the caller's to free, the
 * strings stay the environment's. NULL without memory. */
static char **
public_environment(void)
{
	size_t count = 0, kept = 0;
	char **out;

	while (environ[count] != NULL)
		count++;
	out = calloc(count + 1, sizeof(*out));
	for (size_t i = 0; out != NULL && i < count; i++)
		if (!is_private(environ[i]))
			out[kept++] = environ[i];
	return out;
}

static int
wait_for(pid_t pid, long timeout_s, struct err *err)
{
	struct timespec nap = { 0, 20 * 1000000 };
	time_t end = time(NULL) + timeout_s;
	int status = 0;
	pid_t done;

	while ((done = waitpid(pid, &status, WNOHANG)) == 0 && time(NULL) <= end)
		(void)nanosleep(&nap, NULL);
	if (done == 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		return err_set(err, "hook command did not end within %ld s", timeout_s);
	}
	if (done < 0)
		return err_set(err, "hook command: %s", strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, "hook command ended with status %d",
		    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}

int
hook_command(const char *command, const char *json, long timeout_s, struct err *err)
{
	char *copy = strdup(command), *words[WORDS_MAX + 1], **environment;
	posix_spawn_file_actions_t actions;
	int input[2], failed;
	size_t left = strlen(json);
	pid_t pid = -1;

	if (copy == NULL || split_words(copy, words) <= 0) {
		free(copy);
		return err_set(err,
		    "hook command is empty, has an open quote or more than %d words", WORDS_MAX);
	}
	if (pipe2(input, O_CLOEXEC) < 0) {
		free(copy);
		return err_set(err, "hook command: %s", strerror(errno));
	}
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
	environment = public_environment();
	failed = environment == NULL
	    ? ENOMEM
	    : posix_spawnp(&pid, words[0], &actions, NULL, words, environment);
	free(environment);
	(void)posix_spawn_file_actions_destroy(&actions);
	close(input[0]);
	if (failed == 0 && write(input[1], json, left) != (ssize_t)left && errno != EPIPE)
		log_debug("hook did not read all of its input"); /* its own business */
	close(input[1]);
	if (failed != 0)
		(void)err_set(err, "hook command %s: %s", words[0], strerror(failed));
	free(copy);
	return failed != 0 ? -1 : wait_for(pid, timeout_s, err);
}

static size_t
ignore_body(char *data, size_t size, size_t count, void *context)
{
	(void)data;
	(void)context;
	return size * count;
}

int
hook_post(const char *url, const char *json, long timeout_s, struct err *err)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long status = 0;

	if (curl != NULL && headers != NULL) {
		(void)curl_easy_setopt(curl, CURLOPT_URL, url);
		(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
		(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
		(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, timeout_s);
		(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		(void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "kairan/" KAIRAN_VERSION);
		(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore_body);
		code = curl_easy_perform(curl);
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK)
		return err_set(err, "hook address: %s", curl_easy_strerror(code));
	if (status < 200 || status > 299)
		return err_set(err, "hook address answered %ld", status);
	return 0;
}

int
hook_round(struct db *db, const struct config *config)
{
	PGresult *r = db_query(db,
	    "SELECT e.id, c.hook_command, c.hook_url, e.hook_tries, jsonb_build_object('event', "
	    "e.event, "
	    "'campaign', c.name, 'run_key', r.run_key, 'run', r.id, 'at', e.at, 'reason', "
	    "r.reason, "
	    "'planned', p.planned, 'sent', p.sent, 'failed', p.failed, 'in_doubt', p.in_doubt, "
	    "'bounced', p.bounced, 'complained', p.complained) "
	    "FROM kairan.run_event e JOIN kairan.run r ON r.id = e.run_id "
	    "JOIN kairan.campaign c ON c.id = r.campaign_id "
	    "JOIN kairan.campaign_progress p ON p.run_id = r.id "
	    "WHERE e.hooked_at IS NULL AND (e.hook_tries = 0 OR e.at + e.hook_tries * e.hook_tries "
	    "* "
	    "interval '10 s' < now()) ORDER BY e.id LIMIT 20",
	    0, NULL);
	int result = 0;

	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r) && result == 0; i++) {
		const char *command = db_text(r, i, 1), *url = db_text(r, i, 2);
		const char *json = db_text(r, i, 4), *params[] = { db_text(r, i, 0), "yes" };
		bool wanted = strstr(json, "\"event\": \"finished\"") != NULL ||
		    strstr(json, "\"event\": \"paused\"") != NULL ||
		    strstr(json, "\"event\": \"failed\"") != NULL;
		struct err err = { 0 };

		CRASH_POINT("before_hook");
		if (wanted &&
		    ((command[0] != '\0' &&
			 hook_command(command, json, config->producer_hook_timeout_s, &err) < 0) ||
			(url[0] != '\0' &&
			    hook_post(url, json, config->producer_hook_timeout_s, &err) < 0))) {
			log_warn("hook failed event=%s try=%lld error=\"%s\"", params[0],
			    (long long)db_number(r, i, 3) + 1, err.msg);
			if (db_number(r, i, 3) + 1 < HOOK_TRIES)
				params[1] = "no";
		}
		result = db_run(db,
		    "UPDATE kairan.run_event SET hook_tries = hook_tries + 1, "
		    "hooked_at = CASE WHEN $2 = 'yes' THEN now() END WHERE id = $1",
		    2, params);
	}
	PQclear(r);
	return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_dkim: keys of signatures: `kairan dkim new`, `use`, `show`. A key is made before its record is
 * published and put to use when the record is seen: mail signed with a key that nobody can look up
 * counts as unsigned.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "dkim_store.h"
#include "dns.h"
#include "doctor.h"
#include "secret.h"

#define SELECTOR_MAX 60
#define ZONE_TTL_S 3600

struct new_key {
	enum dkim_algorithm algorithm;
	char selector[SELECTOR_MAX + 2];
};

/* ---------------------------------------------------------------- new */

/* Makes the folder when it is missing, for the owner of the one above it. */
static int
make_folder(const char *path, const struct stat *owner, struct err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, "cannot make the folder %s: %s", path, strerror(errno));
	if (owner != NULL && geteuid() == 0 && chown(path, owner->st_uid, owner->st_gid) < 0)
		return err_set(err, "cannot give %s to its owner: %s", path, strerror(errno));
	return 0;
}

static int
key_path(char path[PATH_MAX], const char *dir, const char *domain, const char *selector,
    const char *suffix, struct err *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s/%s%s", dir, domain, selector, suffix) >= PATH_MAX)
		return err_set(err, "the path of dkim.dir is too long");
	return 0;
}

/* Refuses a selector that any file has: a key must never change under a record. */
static int
selector_is_free(const char *dir, const char *domain, const char *selector, struct err *err)
{
	static const char *const suffixes[] = { ".pem", ".new", ".old" };
	char path[PATH_MAX];

	for (size_t i = 0; i < 3; i++) {
		if (key_path(path, dir, domain, selector, suffixes[i], err) < 0)
			return -1;
		if (access(path, F_OK) == 0)
			return err_set(err,
			    "there is a key already, %s; choose another name with --selector",
			    path);
	}
	return 0;
}

static int
make_key(const char *dir, const char *domain, const struct new_key *new, struct dkim *dkim,
    struct err *err)
{
	char path[PATH_MAX], folder[PATH_MAX];
	struct dkim_key *key;
	struct stat owner;
	struct buf pem;
	int result = -1;

	buf_init(&pem, DKIM_PEM_MAX);
	if (make_folder(dir, NULL, err) < 0 || stat(dir, &owner) < 0 ||
	    snprintf(folder, sizeof(folder), "%s/%s", dir, domain) >= (int)sizeof(folder) ||
	    make_folder(folder, &owner, err) < 0 ||
	    selector_is_free(dir, domain, new->selector, err) < 0 ||
	    key_path(path, dir, domain, new->selector, ".new", err) < 0 ||
	    dkim_key_generate(new->algorithm, &pem, err) < 0 ||
	    dkim_key_parse(&key, buf_slice(&pem), slice_str(domain), slice_str(new->selector),
		slice_make(NULL, 0), err) < 0)
		goto out;
	if (dkim_add(dkim, key, err) < 0 ||
	    secret_create("DKIM key", path, buf_slice(&pem), err) < 0)
		goto out;
	if (geteuid() == 0 && chown(path, owner.st_uid, owner.st_gid) < 0)
		(void)err_set(err, "cannot give %s to its owner: %s", path, strerror(errno));
	else
		result = 0;
out:
	if (pem.data != NULL)
		OPENSSL_cleanse(pem.data, pem.capacity);
	buf_release(&pem);
	return result;
}

static json_t *
key_json(const struct dkim_key *key, const char *state)
{
	struct buf record, name, zone;
	json_t *out = NULL;

	buf_init(&record, 4096);
	buf_init(&name, 512);
	buf_init(&zone, 8192);
	buf_printf(&name, "%s._domainkey.%s", dkim_key_selector(key), dkim_key_domain(key));
	if (dkim_key_put_record(key, &record)) {
		dns_zone_put_txt(&zone, buf_slice(&name), ZONE_TTL_S, buf_slice(&record));
		out = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "domain",
		    dkim_key_domain(key), "selector", dkim_key_selector(key), "algorithm",
		    dkim_algorithm_name(dkim_key_algorithm(key)), "bits", (int)dkim_key_bits(key),
		    "state", state, "name", buf_str(&name), "record", buf_str(&record), "zone",
		    buf_str(&zone));
	}
	buf_release(&record);
	buf_release(&name);
	buf_release(&zone);
	return out;
}

/* Prints the records for a zone file; false when there was none. */
static void
print_zone(const struct dkim *dkim)
{
	for (size_t i = 0; i < dkim_count(dkim); i++) {
		json_t *key = key_json(dkim_at(dkim, i), "");

		fputs(json_string_value(json_object_get(key, "zone")), stdout);
		json_decref(key);
	}
}

static int
take_domain(struct cli *cli, const char *text, char domain[256])
{
	struct addr a;
	struct err err = { 0 };
	char address[300];

	/* the one place that knows what a domain is, IDN and all */
	(void)snprintf(address, sizeof(address), "x@%.255s", text);
	if (addr_parse(&a, slice_str(address), &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "'%s' is not a domain", text);
	(void)snprintf(domain, 256, "%.*s", SLICE_ARG(addr_domain(&a)));
	return EXIT_DONE;
}

static int
list_new(struct cli *cli, const char *algorithm, const char *selector, struct new_key new[2])
{
	bool rsa = strcmp(algorithm, "rsa") == 0, ed = strcmp(algorithm, "ed25519") == 0;
	bool both = strcmp(algorithm, "both") == 0;
	char month[16];
	time_t now = time(NULL);
	struct tm tm;
	int n = 0;

	if (!rsa && !ed && !both) {
		(void)cli_fail(
		    cli, EXIT_USAGE, "--algorithm takes rsa, ed25519 or both, not '%s'", algorithm);
		return -1;
	}
	if (selector == NULL) {
		(void)gmtime_r(&now, &tm);
		(void)strftime(month, sizeof(month), "k%Y%m", &tm);
		selector = month;
	}
	if (strlen(selector) > SELECTOR_MAX) {
		(void)cli_fail(
		    cli, EXIT_USAGE, "--selector takes at most %d characters", SELECTOR_MAX);
		return -1;
	}
	if (rsa || both) {
		new[n].algorithm = DKIM_RSA;
		(void)snprintf(
		    new[n++].selector, sizeof(new->selector), "%s%s", selector, both ? "r" : "");
	}
	if (ed || both) {
		new[n].algorithm = DKIM_ED25519;
		(void)snprintf(
		    new[n++].selector, sizeof(new->selector), "%s%s", selector, both ? "e" : "");
	}
	return n;
}

static int
run_new(struct cli *cli, int argc, char **argv)
{
	const char *algorithm = "both", *selector = NULL;
	const struct cli_option options[] = {
		{ .name = "algorithm", .value_name = "rsa|ed25519|both", .value = &algorithm },
		{ .name = "selector", .value_name = "NAME", .value = &selector },
		{ 0 },
	};
	const char *dir = cli->config.dkim_dir;
	struct dkim *dkim;
	struct new_key new[2];
	struct err err = { 0 };
	char domain[256];
	int n;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(
		    cli, EXIT_USAGE, "name the domain of the sender: kairan dkim new example.jp");
	if (take_domain(cli, argv[0], domain) != EXIT_DONE)
		return EXIT_USAGE;
	if (dir[0] == '\0')
		return cli_fail(cli, EXIT_USAGE, "dkim.dir is empty: nothing is to be signed");
	n = list_new(cli, algorithm, selector, new);
	if (n < 0)
		return EXIT_USAGE;
	dkim = dkim_new();
	for (int i = 0; i < n && err.msg[0] == '\0'; i++)
		if (dkim == NULL || make_key(dir, domain, &new[i], dkim, &err) < 0)
			n = -1;
	if (n < 0) {
		dkim_free(dkim);
		return cli_fail(cli, EXIT_FAILED, "%s",
		    err.msg[0] != '\0' ? err.msg : "the folder of dkim.dir cannot be used");
	}
	if (cli->json) {
		json_t *keys = json_array();

		for (size_t i = 0; i < dkim_count(dkim); i++)
			(void)json_array_append_new(keys, key_json(dkim_at(dkim, i), "waiting"));
		cli_print_json(json_pack("{s:s, s:o}", "domain", domain, "keys", keys));
	} else {
		print_zone(dkim);
		fprintf(stderr,
		    "\nThe keys are in %s/%s, nothing is signed with them yet. Publish these "
		    "records, "
		    "then:\n  kairan dkim use %s\n",
		    dir, domain, domain);
	}
	dkim_free(dkim);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- use */

static int
move_key(
    const char *dir, const struct dkim_key *key, const char *from, const char *to, struct err *err)
{
	char old[PATH_MAX], new[PATH_MAX];

	if (key_path(old, dir, dkim_key_domain(key), dkim_key_selector(key), from, err) < 0 ||
	    key_path(new, dir, dkim_key_domain(key), dkim_key_selector(key), to, err) < 0)
		return -1;
	if (rename(old, new) < 0)
		return err_set(err, "cannot rename %s: %s", old, strerror(errno));
	return 0;
}

/* The new ones come first, so that there is never none; what they follow goes out of use. */
static int
switch_keys(
    const char *dir, const struct dkim *waiting, const struct dkim *signing, struct err *err)
{
	bool fresh[2] = { false, false };

	for (size_t i = 0; i < dkim_count(waiting); i++) {
		if (move_key(dir, dkim_at(waiting, i), ".new", ".pem", err) < 0)
			return -1;
		fresh[dkim_key_algorithm(dkim_at(waiting, i))] = true;
	}
	for (size_t i = 0; i < dkim_count(signing); i++)
		if (fresh[dkim_key_algorithm(dkim_at(signing, i))] &&
		    move_key(dir, dkim_at(signing, i), ".pem", ".old", err) < 0)
			return -1;
	return 0;
}

/* EXIT_DONE when every record is published as it should be. */
static int
check_published(struct cli *cli, const struct dkim *waiting, const char *server)
{
	struct doctor_checks checks;
	struct err err = { 0 };
	int code = EXIT_DONE;

	doctor_checks_init(&checks);
	if (doctor_open(&checks, server, &err) < 0) {
		doctor_checks_release(&checks);
		return cli_fail(cli, EXIT_TEMPORARY, "%s", err.msg);
	}
	for (size_t i = 0; i < dkim_count(waiting) && code == EXIT_DONE; i++) {
		const struct doctor_check *c = doctor_check_key(&checks, dkim_at(waiting, i));

		if (c->verdict == DOCTOR_FAILED || c->verdict == DOCTOR_SKIPPED)
			code = cli_fail(cli,
			    c->verdict == DOCTOR_SKIPPED ? EXIT_TEMPORARY : EXIT_FAILED,
			    "%s: %s; kairan dkim show prints the record (--unchecked: use the key "
			    "all "
			    "the same)",
			    c->subject, c->found);
	}
	doctor_checks_release(&checks);
	return code;
}

static int
run_use(struct cli *cli, int argc, char **argv)
{
	const char *server = NULL, *dir = cli->config.dkim_dir;
	bool unchecked = false;
	const struct cli_option options[] = {
		{ .name = "dns", .value_name = "ADDRESS[:PORT]", .value = &server },
		{ .name = "unchecked", .flag = &unchecked },
		{ 0 },
	};
	struct dkim *waiting = dkim_new(), *signing = dkim_new();
	struct err err = { 0 };
	char domain[256];
	int code = EXIT_DONE;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		code = EXIT_USAGE;
	else if (argc != 1)
		code = cli_fail(cli, EXIT_USAGE, "name the domain: kairan dkim use example.jp");
	else
		code = take_domain(cli, argv[0], domain);
	if (code == EXIT_DONE &&
	    (waiting == NULL || signing == NULL ||
		dkim_store_read(dir, domain, ".new", waiting, &err) < 0 ||
		dkim_store_read(dir, domain, ".pem", signing, &err) < 0))
		code = cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	if (code == EXIT_DONE && dkim_count(waiting) == 0)
		code = cli_fail(cli, EXIT_NOTHING,
		    "no key of %s waits; make one: kairan dkim new %s", domain, domain);
	if (code == EXIT_DONE && !unchecked)
		code = check_published(cli, waiting, server);
	if (code == EXIT_DONE && switch_keys(dir, waiting, signing, &err) < 0)
		code = cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	if (code == EXIT_DONE && cli->json) {
		json_t *keys = json_array();

		for (size_t i = 0; i < dkim_count(waiting); i++)
			(void)json_array_append_new(keys, key_json(dkim_at(waiting, i), "signing"));
		cli_print_json(json_pack("{s:s, s:o}", "domain", domain, "keys", keys));
	} else if (code == EXIT_DONE) {
		printf("runs that start from now on are signed with %zu key%s of %s\n",
		    dkim_count(waiting), dkim_count(waiting) == 1 ? "" : "s", domain);
	}
	dkim_free(waiting);
	dkim_free(signing);
	return code;
}

/* ---------------------------------------------------------------- show */

static int
show_domain(struct cli *cli, const char *domain, json_t *out, struct err *err)
{
	static const struct {
		const char *suffix, *state;
	} states[] = { { ".pem", "signing" }, { ".new", "waiting" }, { ".old", "out of use" } };

	for (size_t s = 0; s < 3; s++) {
		struct dkim *dkim = dkim_new();

		if (dkim == NULL ||
		    dkim_store_read(cli->config.dkim_dir, domain, states[s].suffix, dkim, err) <
			0) {
			dkim_free(dkim);
			return -1;
		}
		for (size_t i = 0; i < dkim_count(dkim); i++)
			(void)json_array_append_new(
			    out, key_json(dkim_at(dkim, i), states[s].state));
		dkim_free(dkim);
	}
	return 0;
}

static void
print_keys(json_t *keys)
{
	json_t *key;
	size_t i;

	json_array_foreach(keys, i, key)
	{
		const char *state = json_string_value(json_object_get(key, "state"));

		printf("; %s, %s %d bits\n%s", state,
		    json_string_value(json_object_get(key, "algorithm")),
		    (int)json_integer_value(json_object_get(key, "bits")),
		    json_string_value(json_object_get(key, "zone")));
	}
}

static int
run_show(struct cli *cli, int argc, char **argv)
{
	char **names = NULL, domain[256];
	struct err err = { 0 };
	json_t *keys = json_array();
	size_t count = 0;
	int result = 0;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0 || (argc > 0 && take_domain(cli, argv[0], domain) != EXIT_DONE)) {
		json_decref(keys);
		return EXIT_USAGE;
	}
	if (argc > 0)
		result = show_domain(cli, domain, keys, &err);
	else
		result = dkim_store_domains(cli->config.dkim_dir, &names, &count, &err);
	for (size_t i = 0; i < count && result == 0; i++)
		result = show_domain(cli, names[i], keys, &err);
	dkim_store_free_domains(names, count);
	if (result < 0) {
		json_decref(keys);
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	}
	count = json_array_size(keys);
	if (cli->json) {
		cli_print_json(keys);
	} else {
		print_keys(keys);
		json_decref(keys);
	}
	if (count == 0 && !cli->json)
		fprintf(stderr, "kairan: no key in %s\n", cli->config.dkim_dir);
	return count > 0 ? EXIT_DONE : EXIT_NOTHING;
}

const struct cli_command cli_dkim_commands[] = {
	{ "dkim new", "DOMAIN", "make DKIM keys for a sender's domain and print their DNS records",
	    "The keys go to dkim.dir/DOMAIN/SELECTOR.new and sign nothing yet. The records are "
	    "printed "
	    "as\n"
	    "lines for a zone file; publish them, then run kairan dkim use.\n"
	    "\n"
	    "Options:\n"
	    "  --algorithm A  rsa (2048 bits), ed25519, or both (default; letters r and e are put\n"
	    "                 behind the selector)\n"
	    "  --selector S   name of the key in DNS; default: k and the month\n"
	    "\n"
	    "Example:\n"
	    "  kairan dkim new example.jp\n",
	    true, run_new },
	{ "dkim use", "DOMAIN",
	    "sign with the new keys of a domain once their records are published",
	    "Looks the records up, then puts the waiting keys in the place of those of the same\n"
	    "algorithm, for runs that start from now on. Leave the records of the old keys in DNS "
	    "for\n"
	    "dkim.expire_s after the last run that used them.\n"
	    "\n"
	    "Options:\n"
	    "  --dns A[:PORT] ask this server\n"
	    "  --unchecked    do not look the records up\n"
	    "\n"
	    "Example:\n"
	    "  kairan dkim use example.jp\n",
	    true, run_use },
	{ "dkim show", "[DOMAIN]", "print the DKIM keys that are there, with their records",
	    "As lines for a zone file. Exit code 6 when there is none.\n"
	    "\n"
	    "Example:\n"
	    "  kairan dkim show example.jp\n",
	    true, run_show },
	{ 0 },
};
